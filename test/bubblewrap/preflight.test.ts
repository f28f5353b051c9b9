/** What a start on bubblewrap says and refuses before anything is started. */
import { expect, test } from "bun:test"
import { chmodSync, mkdirSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const PROGRAM = join(import.meta.dir, "..", "..", "dist", "bottle")

function world(provider: string) {
  const folder = temporaryFolder()
  const tools = join(folder.path, "tools")
  const home = join(folder.path, ".bottle")
  for (const path of [tools, join(home, "bottles"), join(home, "agents")])
    mkdirSync(path, { recursive: true })
  writeFileSync(join(tools, "own-tool"), "#!/bin/sh\necho own tool\n")
  chmodSync(join(tools, "own-tool"), 0o755)
  const front = `agent_provider: { template: command, command: [own-tool]${provider} }\nbackend: bubblewrap`
  writeFileSync(join(home, "bottles", "one.md"), `---\n${front}\n---\n`)
  writeFileSync(join(home, "agents", "one.md"), "---\nbottle: one\n---\n")
  const env = { HOME: folder.path, PATH: `${tools}:${process.env.PATH}`, TERM: "xterm" }
  const cwd = join(folder.path, "work")
  mkdirSync(cwd)
  writeFileSync(join(cwd, "small"), "small")
  const start = (more: Record<string, string> = {}, ...args: string[]) =>
    run([PROGRAM, "start", "one", "--yes", ...args], { env: { ...env, ...more }, cwd })
  return { tools, cwd, start, [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

test("names what comes into the sandbox with the agent's program, and runs it", async () => {
  using one = world("")
  const { code, stdout, stderr } = await one.start()
  expect({ code, stdout }).toEqual({ code: 0, stdout: "own tool\n" })
  expect(stderr).toContain(`brings     ${join(one.tools, "own-tool")}`)
  const planned = await one.start({}, "--dry-run", "--format", "json")
  expect(JSON.parse(planned.stdout).brings).toEqual([join(one.tools, "own-tool")])
})

test("says how large a folder is before it copies it, where that takes a while", async () => {
  using one = world("")
  const plan = () => one.start({}, "--dry-run", "--cwd")
  expect((await plan()).stderr).not.toContain("GiB")
  // Of no size on the disk.
  writeFileSync(join(one.cwd, "large"), "")
  truncateSync(join(one.cwd, "large"), 3 * 2 ** 30)
  expect((await plan()).stderr).toContain("3.0 GiB in 2 files")
})

test("an image that was asked for is refused, whoever asked", async () => {
  using plain = world("")
  for (const variable of ["BOTTLE_IMAGE", "BOTTLE_SIDECAR_IMAGE"]) {
    const { code, stdout, stderr } = await plain.start({ [variable]: "elsewhere" })
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
    expect(stderr).toContain("bubblewrap runs no images")
    expect(stderr).toContain(`unset ${variable}`)
  }
  using built = world(", dockerfile: Dockerfile")
  const { code, stderr } = await built.start()
  expect(code).toBe(1)
  expect(stderr).toContain("Take agent_provider.dockerfile out of")
})
