/** `--cwd` where Docker has its own way; the rest is in test/contract. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
import { mkdtempSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"
import { createScripted, NOTHING, type Remains, type Scripted, STAY } from "./scripted.ts"

let scripted: Scripted
beforeAll(async () => {
  scripted = await createScripted()
})
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

const left = async (): Promise<Remains> => ({ ...(await scripted.remains()), networks: [] })

function folder(): string {
  return mkdtempSync(join(scripted.world.cwd, "project-"))
}

async function sh(cwd: string, line: string): Promise<string> {
  const result = await run(["bash", "-ec", line], { cwd })
  if (result.code !== 0) throw new Error(result.stderr)
  return result.stdout.trim()
}

test("sockets, pipes and devices are left out, and the rest is copied", async () => {
  const cwd = folder()
  await sh(cwd, "mkfifo pipe; mknod device c 1 3; mkdir sub; echo x >sub/file")
  const server = createServer()
  await new Promise<void>((done) => server.listen(join(cwd, "sub", "socket"), done))
  const identity = await scripted.detached(STAY, { args: ["--cwd"], cwd })
  expect(await scripted.inside(identity, "cd /workspace && find . | sort")).toBe(".\n./sub\n./sub/file")
  server.close()
})

test("a folder that cannot be read whole ends the start with its place, and nothing is left", async () => {
  const cwd = folder()
  // Deeper than any path may be long (PATH_MAX, 4096 bytes): it can be made step by step, and not be named.
  const name = "x".repeat(100)
  await sh(cwd, `for i in $(seq 50); do mkdir ${name}; cd ${name}; done`)
  const result = await scripted.start("true", { args: ["--cwd", "--prompt", "x"], cwd })
  await sh(cwd, `rm -rf ${name}`)
  expect(result.code).toBe(1)
  expect(result.stderr).toContain(`Could not copy ${cwd}`)
  expect(result.stderr).toContain("ENAMETOOLONG")
  expect(await left()).toEqual(NOTHING)
})
