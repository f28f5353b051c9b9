import { expect, test } from "bun:test"
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"

const project = join(import.meta.dirname, "..", "..")

/** A machine's PATH with nothing but the tools named, and an empty home. */
async function machineWith(tools: string[]) {
  const root = await mkdtemp(join(tmpdir(), "machine-"))
  const bin = join(root, "bin")
  await mkdir(bin)
  for (const tool of tools) {
    const { stdout } = await run(["sh", "-c", `command -v ${tool}`])
    await symlink(stdout.trim(), join(bin, tool))
  }
  return {
    bin,
    env: { PATH: bin, HOME: root },
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  }
}

const basic = ["bash", "env", "cat", "cmp", "cp", "dirname", "ln", "mkdir", "readlink", "sed"]

test("without Bun and npm, scripts/bottle says what is missing and how to get it", async () => {
  await using machine = await machineWith(basic)
  const { code, stderr } = await run([join(project, "scripts", "bottle"), "--version"], { env: machine.env })
  expect(code).toBe(1)
  expect(stderr).toContain("needs Bun 1.4 or newer")
  expect(stderr).toContain("apt-get install npm")
})

test("scripts/bottle passes over a Bun that is too old, and takes the one it keeps itself", async () => {
  await using machine = await machineWith(basic)
  await writeFile(join(machine.bin, "bun"), "#!/bin/sh\necho 1.3.9\n")
  await chmod(join(machine.bin, "bun"), 0o755)
  const old = await run([join(project, "scripts", "bottle"), "--version"], { env: machine.env })
  expect(old.stderr).toContain("needs Bun 1.4 or newer")
  const kept = join(machine.env.HOME, ".cache", "bottle", "bun")
  await mkdir(kept, { recursive: true })
  await symlink(process.execPath, join(kept, "bun"))
  const found = await run([join(project, "scripts", "bottle"), "--version"], { env: machine.env })
  expect(found).toMatchObject({ code: 0 })
  expect(found.stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})

test("scripts/build writes to the path that its caller means, whatever the folder", async () => {
  await using machine = await machineWith([])
  const built = await run([join(project, "scripts", "build"), "mine"], { cwd: machine.env.HOME })
  expect(built).toMatchObject({ code: 0, stderr: "build: mine\n" })
  const { code, stdout } = await run([join(machine.env.HOME, "mine"), "--version"])
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
})

test("scripts/build tells how it is called when it is called wrongly", async () => {
  for (const [argv, what] of [
    [["--relase"], "--relase"],
    [["--version", "1.2.3"], "go with --release"],
    [["one", "two"], "one path at most"],
  ] as const) {
    const { code, stdout, stderr } = await run([join(project, "scripts", "build"), ...argv])
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
    expect(stderr).toContain(what)
    expect(stderr).toContain("scripts/build --release [--version X]")
  }
})
