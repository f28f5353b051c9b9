/** Signals and stops: who gets them, what ends, and that nothing of a bottle outlives it. */
import { describe, expect, test } from "bun:test"
import { randomInt } from "node:crypto"
import { allProcesses, described, NOTHING } from "./objects.ts"
import { keptIdentity, onEveryBackend, STAY, WAIT } from "./world.ts"

/** --profile tells the phases when the start is over: from then on a signal is the agent's. */
const STARTED = (text: string) => /\d ms agent /.test(text)

onEveryBackend((world) => {
  describe("a signal to bottle while the agent works", () => {
    const ends: [NodeJS.Signals, number][] = [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ]
    for (const [signal, status] of ends) {
      test(`${signal} ends the agent, and the bottle with it`, async () => {
        await using bottle = world().spawn("echo works; exec sleep infinity", { args: ["--profile"] })
        const said = new Heard(bottle.stderr)
        await Promise.all([new Heard(bottle.stdout).until((text) => text === "works\n"), said.until(STARTED)])
        process.kill(bottle.pid, signal)
        expect(await bottle.exited).toBe(status)
        expect(await said.all()).toContain(`its agent ended with ${status}`)
        const { running, state } = await world().remains()
        expect(running).toEqual([])
        expect(state).toHaveLength(1)
      })

      test(`${signal} lets the agent finish by itself, and its own status counts`, async () => {
        const trap = `trap 'echo tidied; exit 0' ${signal.slice(3)}`
        await using bottle = world().spawn(`${trap}; echo works; ${WAIT}`, { args: ["--profile"] })
        const [out, said] = [new Heard(bottle.stdout), new Heard(bottle.stderr)]
        await Promise.all([out.until((text) => text === "works\n"), said.until(STARTED)])
        process.kill(bottle.pid, signal)
        expect(await bottle.exited).toBe(0)
        expect(await out.all()).toBe("works\ntidied\n")
        expect(await said.all()).toContain("nothing to keep")
        expect(await world().remains()).toEqual(NOTHING)
      })
    }
  })

  describe("bottle itself, gone while the agent does a task,", () => {
    const ends: [NodeJS.Signals, number][] = [
      ["SIGHUP", 129],
      ["SIGKILL", 137],
    ]
    for (const [signal, status] of ends) {
      test(`by ${signal}, leaves it to its work, listed and ready to be stopped`, async () => {
        const script =
          "echo works; until [ -e /tmp/go ]; do echo tick; sleep 0.05; done; echo done >note; sleep infinity"
        {
          await using bottle = world().spawn(script, { args: ["--profile"] })
          const [out, said] = [new Heard(bottle.stdout), new Heard(bottle.stderr)]
          await Promise.all([out.until((text) => text.startsWith("works\n")), said.until(STARTED)])
          process.kill(bottle.pid, signal)
          expect(await bottle.exited).toBe(status)
        }
        const [backend, identity = "none", , services] = (await world().ok("list", "active")).split("\t")
        expect([backend, services]).toEqual([world().kind.backend, "agent,egress"])
        await world().inside(identity, ": >/tmp/go")
        await world().until(identity, "[ -s /workspace/note ]")
        const stopped = await world().bottle("stop", identity)
        expect(keptIdentity(stopped)).toBe(identity)
        expect((await world().remains()).running).toEqual([])
      })
    }
  })

  describe("a bottle started with --detach", () => {
    test("tells its identity on stdout alone, and goes without a trace when stopped", async () => {
      const started = await world().start(STAY, { args: ["--detach"] })
      expect(started.code).toBe(0)
      expect(started.stdout).toMatch(/^sh-[0-9a-z]{5}\n$/)
      const identity = started.stdout.trim()
      expect(await world().remains()).toEqual({ running: [identity], work: [identity], state: [identity] })
      expect(await world().bottle("stop", identity)).toMatchObject({ code: 0, stdout: "" })
      expect(await world().remains()).toEqual(NOTHING)
    })

    test("keeps what its agent wrote when it is stopped", async () => {
      const identity = await world().detached(`echo work >note; ${STAY}`)
      await world().until(identity, "[ -s /workspace/note ]")
      const stopped = await world().bottle("stop", identity)
      expect(stopped.stderr).toMatch(/\/workspace\S* is new or changed/)
      expect(keptIdentity(stopped)).toBe(identity)
      expect(await world().remains()).toEqual({ running: [], work: [identity], state: [identity] })
    })

    test("lets its agent tidy up when it is stopped", async () => {
      const identity = await world().detached(`trap 'echo tidied >note; exit 0' TERM; : >/tmp/set; ${WAIT}`)
      await world().until(identity, "[ -e /tmp/set ]")
      expect((await world().bottle("stop", identity)).code).toBe(0)
      expect((await world().resume(identity, "cat note")).stdout).toBe("tidied\n")
    })
  })

  test("stop ends every process: those that ignore signals, left their session, or lost their parents", async () => {
    // Found by an argument that nobody else has.
    const mark = `999${randomInt(1e9, 9e9)}`
    const stubborn = `trap '' TERM HUP INT QUIT; while :; do sleep ${mark}; done`
    const script = [
      `setsid bash -c "${stubborn}" </dev/null >/dev/null 2>&1 &`,
      `(setsid nohup sleep ${mark} </dev/null >/dev/null 2>&1 &)`,
      `(bash -c "exec -a renamed sleep ${mark}" & )`,
      `: >/tmp/begun; ${stubborn}`,
    ].join("\n")
    const marked = () => allProcesses().filter((pid) => described(pid)?.args.includes(`sleep ${mark}`))
    const identity = await world().detached(script)
    await world().until(identity, `[ $(pgrep -cx sleep) -ge 4 ] || [ $(pgrep -fc 'renamed|sleep' ) -ge 6 ]`)
    expect(marked().length).toBeGreaterThanOrEqual(4)
    const all = await world().objects.processes(identity)
    expect((await world().bottle("stop", identity)).code).toBe(0)
    expect(marked()).toEqual([])
    expect(allProcesses().filter((pid) => all.some((before) => before.pid === pid))).toEqual([])
    expect(await world().remains()).toEqual(NOTHING)
  })

  test("the agent's end ends what it left running, and its output does not keep bottle waiting", async () => {
    const mark = `999${randomInt(1e9, 9e9)}`
    const result = await world().start(`setsid sleep ${mark} & sleep ${mark} & echo done`)
    expect(result).toMatchObject({ code: 0, stdout: "done\n" })
    expect(allProcesses().filter((pid) => described(pid)?.args.includes(mark))).toEqual([])
    expect(await world().remains()).toEqual(NOTHING)
  })

  test("stop of one that is not there, or has ended, says so", async () => {
    const never = await world().bottle("stop", "sh-aaaaa")
    expect(never.code).toBe(1)
    expect(never.stderr).toContain("There is no bottle named sh-aaaaa")
    const identity = keptIdentity(await world().start("exit 3"))
    const ended = await world().bottle("stop", identity)
    expect(ended.code).toBe(1)
    expect(ended.stderr).toContain(`${identity} does not run`)
    expect(ended.stderr).toContain(`bottle resume ${identity}`)
  })
})

/** What a stream says, to be waited for piece by piece. */
class Heard {
  readonly #stream: AsyncIterator<Buffer>
  text = ""

  constructor(stream: NodeJS.ReadableStream) {
    this.#stream = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  }

  async until(found: (text: string) => boolean): Promise<void> {
    while (!found(this.text)) {
      const { value, done } = await this.#stream.next()
      if (done) throw new Error(`it ended with:\n${this.text}`)
      this.text += String(value)
    }
  }

  /** The rest, and all before it. */
  async all(): Promise<string> {
    await this.until(() => false).catch(() => {})
    return this.text
  }
}
