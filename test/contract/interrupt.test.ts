/** Starts that meet each other, are interrupted or are killed: none leaves what nobody finds. */
import { beforeAll, describe, expect, test } from "bun:test"
import { setTimeout as delay } from "node:timers/promises"
import type { StreamingProcess } from "../../src/runtime/spawn.ts"
import { allProcesses, NOTHING, read } from "./objects.ts"
import { keptIdentity, onEveryBackend, STAY, type World } from "./world.ts"

const AT_ONCE = 8
/** Moments of a start, as parts of the time that a whole one takes */
const MOMENTS = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]

onEveryBackend((world) => {
  test(`${AT_ONCE} starts at once are ${AT_ONCE} bottles, each behind a gateway of its own`, async () => {
    const starts = Array.from({ length: AT_ONCE }, () => world().detached(STAY))
    const identities = (await Promise.all(starts)).sort()
    expect(new Set(identities).size).toBe(AT_ONCE)
    const active = (await world().ok("list", "active")).split("\n").map((line) => line.split("\t"))
    expect(active.map(([, identity]) => identity).sort()).toEqual(identities)
    expect(active.map(([, , , services]) => services)).toEqual(identities.map(() => "agent,egress"))
    for (const identity of identities) {
      const asked = "curl -s -x http://127.0.0.1:9099 http://bottle.internal/policy"
      expect(JSON.parse(await world().inside(identity, asked)).identity).toBe(identity)
    }
    await Promise.all(identities.map((identity) => world().ok("stop", identity)))
    expect(await world().remains()).toEqual(NOTHING)
  })

  describe("a start that is cut short", () => {
    /** Time of a whole start on this machine, in milliseconds */
    let whole = 0

    beforeAll(async () => {
      const from = performance.now()
      await world().detached(STAY)
      whole = performance.now() - from
      await world().discardAll()
    })

    for (const moment of MOMENTS) {
      test(`by Ctrl-C after ${moment * 100} % of its time leaves nothing`, async () => {
        const { code, identity } = await startAndSignal(world(), moment * whole, "SIGINT")
        // It was done before the signal came: then it runs, and nothing of it is lost.
        if (code === 0) await world().ok("stop", identity)
        else expect(code).toBe(130)
        expect(await world().remains()).toEqual(NOTHING)
      })

      test(`by a kill after ${moment * 100} % of its time leaves what list shows and cleanup removes`, async () => {
        const { identity } = await startAndSignal(world(), moment * whole, "SIGKILL")
        // A bottle whose agent runs is not garbage, even when nobody was told of it: it is listed, and can be stopped.
        const running = JSON.parse(await world().ok("list", "active", "--format", "json")) as ListedBottle[]
        if (identity !== "") expect(running.map((bottle) => bottle.identity)).toEqual([identity])
        for (const { identity: seen, status } of running)
          if (status === "running") await world().bottle("stop", seen)
        await world().ok("cleanup", "--yes")
        const { running: still, work, state } = await world().remains()
        expect(still).toEqual([])
        // What was killed while its agent was starting may hold work, so it is kept for the user under its name.
        expect(work).toEqual(state)
        for (const name of state) expect((await world().resume(name, "true")).code).toBe(0)
      })
    }
  })

  test("a resume that is cut short at any moment, however it is, leaves the work that was kept", async () => {
    const identity = keptIdentity(await world().start("echo precious >note"))
    const from = performance.now()
    await world().resume(identity, "true")
    const whole = performance.now() - from
    for (const [index, moment] of [0.1, 0.3, 0.5, 0.7, 0.8, 0.9].entries()) {
      const signal = index % 2 === 0 ? "SIGINT" : "SIGKILL"
      const child = world().spawnBottle("resume", identity, "--yes", "--detach", "--", "-c", STAY)
      await signalled(child, moment * whole, signal)
      if (await isRunning(world(), identity)) await world().ok("stop", identity)
      await world().ok("cleanup", "--yes")
      expect((await world().remains()).work).toEqual([identity])
    }
    expect((await world().resume(identity, "cat note")).stdout).toBe("precious\n")
  })
})

async function isRunning(world: World, identity: string): Promise<boolean> {
  const active = JSON.parse(await world.ok("list", "active", "--format", "json")) as ListedBottle[]
  return active.some((bottle) => bottle.identity === identity && bottle.status === "running")
}

interface ListedBottle {
  identity: string
  status: string
}

/** Signals a detached start at that time of its life. Answers with its exit status and identity, if it got so far. */
function startAndSignal(world: World, afterMs: number, signal: NodeJS.Signals) {
  return signalled(world.spawn(STAY, { args: ["--detach"] }), afterMs, signal)
}

async function signalled(
  started: StreamingProcess,
  afterMs: number,
  signal: NodeJS.Signals,
): Promise<{ code: number; identity: string }> {
  await using child = started
  let identity = ""
  child.stdout.on("data", (chunk: Buffer) => {
    identity += chunk.toString()
  })
  child.stderr.resume()
  let programs: number[] = []
  const timer = setTimeout(() => {
    programs = dockerPrograms(child.pid)
    process.kill(child.pid, signal)
  }, afterMs)
  try {
    return { code: await child.exited, identity: identity.trim() }
  } finally {
    clearTimeout(timer)
    // They outlive its kill for a moment, and do what they were told.
    while (allProcesses().some((pid) => programs.includes(pid))) await delay(10)
  }
}

/** Programs of Docker's that a process has started. */
function dockerPrograms(parent: number): number[] {
  return allProcesses().filter((pid) => {
    const status = read(`/proc/${pid}/status`)
    return status.includes(`\nPPid:\t${parent}\n`) && /^Name:\tdocker/.test(status)
  })
}
