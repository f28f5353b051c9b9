/** A keeper that does not answer, as on a machine that has no time for it, holds nobody who has changed their mind. */
import { expect, test } from "bun:test"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { readLines } from "../../src/runtime/lines.ts"
import { spawnStreaming } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const PROGRAM = join(import.meta.dir, "..", "..", "dist", "bottle")
/** Far below the time that an answer is waited for, in milliseconds */
const AT_ONCE_MS = 10_000

test("Ctrl-C takes a start back whose keeper hangs, without waiting for its answer", async () => {
  using folder = temporaryFolder()
  const home = join(folder.path, ".bottle")
  for (const name of ["bottles", "agents"]) mkdirSync(join(home, name), { recursive: true })
  const front = "agent_provider: { template: command, command: [sleep, infinity] }\nbackend: bubblewrap"
  writeFileSync(join(home, "bottles", "one.md"), `---\n${front}\n---\n`)
  writeFileSync(join(home, "agents", "one.md"), "---\nbottle: one\n---\n")
  const env = { HOME: folder.path, PATH: process.env.PATH }
  await using start = spawnStreaming([PROGRAM, "start", "one", "--yes"], { env })
  const keeper = await keeperOf(start.pid)
  process.kill(keeper, "SIGSTOP")
  try {
    // Told when the gateway is about to be loaded.
    for await (const line of readLines(start.stderr, 4096, { keepOpen: true })) if (/^CA /.test(line)) break
    const from = performance.now()
    process.kill(start.pid, "SIGINT")
    expect(await start.exited).toBe(130)
    expect(performance.now() - from).toBeLessThan(AT_ONCE_MS)
    expect(readdirSync(join(home, "state")).filter((name) => name.startsWith("one-"))).toEqual([])
  } finally {
    process.kill(keeper, "SIGKILL")
  }
}, 60_000)

/** The keeper that a start has begun, as soon as there is one. */
async function keeperOf(parent: number): Promise<number> {
  for (;;) {
    const found = readdirSync("/proc").find((name) => /^\d+$/.test(name) && isKeeper(name, parent))
    if (found !== undefined) return Number(found)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function isKeeper(pid: string, parent: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    // proc(5): the parent is the second field behind the name, which may hold anything.
    if (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) !== parent) return false
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("\0keeper\0")
  } catch {
    return false
  }
}
