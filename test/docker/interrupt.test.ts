/** A start that is interrupted at any moment leaves nothing; one that is killed leaves what the next cleanup finds. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
import { createScripted, NOTHING, type Remains, type Scripted, STAY } from "./scripted.ts"

/** Moments of a start, as parts of the time that a whole one takes */
const MOMENTS = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]

let scripted: Scripted
/** Time of a whole start on this machine, in milliseconds */
let whole = 0

beforeAll(async () => {
  scripted = await createScripted()
  // The first one builds the images.
  await scripted.world.ok("stop", await scripted.detached(STAY))
  const from = performance.now()
  const identity = await scripted.detached(STAY)
  whole = performance.now() - from
  await scripted.world.ok("stop", identity)
}, 600_000)
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

/** Signals a detached start at that moment of its life. Answers with its exit status and identity, if it got so far. */
async function startAndSignal(
  moment: number,
  signal: NodeJS.Signals,
): Promise<{ code: number; identity: string }> {
  await using child = scripted.spawn(STAY, { args: ["--detach"] })
  let identity = ""
  child.stdout.on("data", (chunk: Buffer) => {
    identity += chunk.toString()
  })
  child.stderr.resume()
  const timer = setTimeout(() => process.kill(child.pid, signal), moment * whole)
  try {
    return { code: await child.exited, identity: identity.trim() }
  } finally {
    clearTimeout(timer)
  }
}

for (const moment of MOMENTS) {
  test(`Ctrl-C after ${moment * 100} % of a start leaves nothing`, async () => {
    const { code, identity } = await startAndSignal(moment, "SIGINT")
    if (code === 0) {
      // It was done before the signal came: then it runs, and nothing of it is lost.
      await scripted.world.ok("stop", identity)
    } else expect(code).toBe(130)
    const left: Remains = { ...(await scripted.remains()), networks: [] }
    expect(left).toEqual(NOTHING)
  })

  test(`a kill after ${moment * 100} % of a start leaves what the next cleanup finds and removes`, async () => {
    const { code, identity } = await startAndSignal(moment, "SIGKILL")
    if (code === 0) await scripted.world.ok("stop", identity)
    // A bottle whose agent runs is not garbage, even when nobody was told of it: it is listed, and can be stopped.
    for (const line of (await scripted.world.ok("list", "active")).split("\n").filter(Boolean)) {
      const [, running = "", , services, mark] = line.split("\t")
      if (mark === undefined && services?.includes("agent")) await scripted.world.bottle("stop", running)
    }
    await scripted.world.ok("cleanup", "--yes")
    // What was killed while its agent was starting may hold work, so it is kept for the user and told by name.
    const left = await scripted.remains()
    expect(left.containers).toEqual([])
    for (const name of left.state) {
      const identityLeft = name.replace(/\.lock$/, "")
      expect(left.volumes.every((volume) => volume.startsWith(`bottle-${identityLeft}-`))).toBe(true)
    }
    if (left.state.length === 0) expect(left.volumes).toEqual([])
  })
}
