/** Starts and sessions of which a part hangs or dies: whoever waits is told the truth, and in time. */
import { expect, test } from "bun:test"
import { mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { readLines } from "../../src/runtime/lines.ts"
import { spawnStreaming } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"
import { processBelow } from "./processes.ts"

const PROGRAM = join(import.meta.dir, "..", "..", "dist", "bottle")
/** Far below the time that an answer is waited for, in milliseconds */
const AT_ONCE_MS = 10_000

/** A start, on pipes, of an agent that says that it runs, and then waits. */
function started() {
  const folder = temporaryFolder()
  const home = join(folder.path, ".bottle")
  for (const name of ["bottles", "agents"]) mkdirSync(join(home, name), { recursive: true })
  const front = 'agent_provider: { template: command, command: [sh, -c, "echo runs; exec sleep 100"] }'
  writeFileSync(join(home, "bottles", "one.md"), `---\n${front}\nbackend: bubblewrap\n---\n`)
  writeFileSync(join(home, "agents", "one.md"), "---\nbottle: one\n---\n")
  const env = { HOME: folder.path, PATH: process.env.PATH }
  const start = spawnStreaming([PROGRAM, "start", "one", "--yes"], { env })
  return {
    start,
    states: () => readdirSync(join(home, "state")).filter((name) => /^one-\w+$/.test(name)),
    async [Symbol.asyncDispose]() {
      await start[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

test("Ctrl-C takes a start back whose keeper hangs, without waiting for its answer", async () => {
  await using one = started()
  const { start } = one
  const keeper = await processBelow(start.pid, / keeper$/)
  process.kill(keeper, "SIGSTOP")
  try {
    // Told when the gateway is about to be loaded.
    for await (const line of readLines(start.stderr, 4096, { keepOpen: true })) if (/^CA /.test(line)) break
    const from = performance.now()
    process.kill(start.pid, "SIGINT")
    expect(await start.exited).toBe(130)
    expect(performance.now() - from).toBeLessThan(AT_ONCE_MS)
    expect(one.states()).toEqual([])
  } finally {
    process.kill(keeper, "SIGKILL")
  }
})

test("a sandbox that dies is told as the agent's end, however long its gateway takes to follow", async () => {
  await using one = started()
  const { start } = one
  for await (const line of readLines(start.stdout, 4096, { keepOpen: true })) if (line === "runs") break
  process.kill(await processBelow(start.pid, /^\/opt\/bottle\/bottle .*egress$/), "SIGSTOP")
  process.kill(await processBelow(start.pid, /^\/opt\/bottle\/bottle .*inner$/), "SIGKILL")
  let said = ""
  for await (const line of readLines(start.stderr, 4096)) said += `${line}\n`
  expect(await start.exited).toBe(137)
  expect(said).toContain(`Kept ${one.states()[0]}: how its agent ended was not seen`)
  expect(said).not.toContain("runs on")
})
