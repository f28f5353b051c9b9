/** A session on a terminal: the agent has it whole, and can be left and joined again. */
import { describe, expect, test } from "bun:test"
import type { TerminalProgram } from "../fixtures/terminal.ts"
import { NOTHING } from "./objects.ts"
import { DETACH, ECHO, onEveryBackend, type World, watching } from "./world.ts"

onEveryBackend((world) => {
  const active = async () => (await world().ok("list", "active")).split("\t")
  const onlyIdentity = async () => {
    const [, identity = ""] = await active()
    expect(identity).toMatch(/^sh-[0-9a-z]{5}$/)
    return identity
  }

  describe("an agent on a terminal", () => {
    test("gets what is typed, and its exit status is ours, its bottle kept and the way back told", async () => {
      await using terminal = world().terminal(ECHO)
      await terminal.sees("ready")
      terminal.type("hello\r")
      await terminal.sees("got hello")
      const identity = await onlyIdentity()
      terminal.type("exit 7\r")
      await terminal.sees(
        `Kept ${identity}: its agent ended with 7. Go on with it: bottle resume ${identity}`,
      )
      expect(await terminal.exited).toBe(7)
      expect(await world().remains()).toEqual({ running: [], work: [identity], state: [identity] })
    })

    test("that ends with 0 and nothing to keep leaves nothing", async () => {
      await using terminal = world().terminal(ECHO)
      await terminal.sees("ready")
      terminal.type("exit 0\r")
      expect(await terminal.exited).toBe(0)
      expect(await world().remains()).toEqual(NOTHING)
    })

    test("has the caller's TERM, a terminal for all of its streams, and one to control", async () => {
      const script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size </dev/tty && echo term=$TERM"
      await using terminal = world().terminal(script)
      await terminal.sees("40 120 term=xterm-256color")
    })

    test("sees the size of the window, and each change of it", async () => {
      const script = `seen=1; ${watching("WINCH", 'echo "size $(stty size)."')}`
      await using terminal = world().terminal(script)
      await terminal.sees("size 40 120.")
      terminal.resize(91, 33)
      await terminal.sees("size 33 91.")
      terminal.resize(132, 50)
      await terminal.sees("size 50 132.")
    })

    test("gets Ctrl-C as on any terminal, and bottle lives on", async () => {
      const script = `word=ready; seen=1; ${watching("INT", "{ echo $word; word=interrupted; }")}`
      await using terminal = world().terminal(script)
      await terminal.sees("ready")
      terminal.type("\u0003")
      await terminal.sees("interrupted")
      terminal.type("\u0003")
      await terminal.sees("interrupted")
      expect((await active())[3]).toBe("agent,egress")
    })

    test("ended by Ctrl-C is told by 130", async () => {
      await using terminal = world().terminal("echo ready; exec sleep infinity")
      await terminal.sees("ready")
      terminal.type("\u0003")
      expect(await terminal.exited).toBe(130)
    })

    test("gets every byte that is typed, and a detach key alone", async () => {
      const script = "stty raw -echo; echo ready; head -c 8 | od -An -tx1; exec sleep infinity"
      await using terminal = world().terminal(script)
      await terminal.sees("ready")
      // ctrl-\ and another key than d; then the rest of what may be taken for something else.
      terminal.type("\u001cx\u0003\u001a\u0011\u0013\u00e4")
      await terminal.sees("1c 78 03 1a 11 13 c3 a4")
    })
  })

  describe("leaving the terminal", () => {
    test("with ctrl-\\ d lets the bottle run on, and attach joins it again until it ends", async () => {
      const identity = await startAndLeave(world())
      await using again = world().onTerminal("attach", identity)
      await joined(again)
      again.type("exit 3\r")
      await again.sees(`bottle resume ${identity}`)
      expect(await again.exited).toBe(3)
      expect((await world().remains()).running).toEqual([])
    })

    test("gives the terminal back: main screen, cursor, no mouse, no bracketed paste", async () => {
      const modes = "\\033[?1049h\\033[?25l\\033[?1000h\\033[?1006h\\033[?2004h"
      await using terminal = world().terminal(`printf '${modes}'; ${ECHO}`)
      await terminal.sees("ready")
      terminal.type(DETACH)
      const seen = await terminal.sees("Back to it: bottle attach")
      expect(await terminal.exited).toBe(0)
      for (const off of ["?1049l", "?25h", "?1000l", "?2004l"]) expect(seen).toContain(`\u001b[${off}`)
    })

    test("and coming back shows the screen of an agent that draws when it is told to", async () => {
      const script = `seen=1; ${watching("WINCH", 'echo "ready, the whole screen at $(stty size)"')}`
      const identity = await startAndLeave(world(), script)
      await using again = world().onTerminal("attach", identity)
      await again.sees("the whole screen at 40 120")
    })

    test("a second terminal joins while the first is there: both see the agent, and each leaves by itself", async () => {
      await using first = world().terminal(ECHO)
      await first.sees("ready")
      const identity = await onlyIdentity()
      await using second = world().onTerminal("attach", identity)
      await joined(second)
      await first.sees("got hello")
      first.type("from-first\r")
      await Promise.all([first.sees("got from-first"), second.sees("got from-first")])
      second.type(DETACH)
      expect(await second.exited).toBe(0)
      first.type("still\r")
      await first.sees("got still")
      first.type("exit 0\r")
      expect(await first.exited).toBe(0)
      expect(await world().remains()).toEqual(NOTHING)
    })

    const ways: [string, (terminal: TerminalProgram) => void, number][] = [
      ["closing the window", (terminal) => terminal.hangUp(), 129],
      ["SIGHUP to bottle", (terminal) => terminal.kill("SIGHUP"), 129],
      ["SIGTERM to bottle", (terminal) => terminal.kill("SIGTERM"), 143],
      ["SIGKILL to bottle", (terminal) => terminal.kill("SIGKILL"), 137],
    ]
    for (const [what, leave, status] of ways) {
      test(`by ${what} lets the bottle run on, listed and ready to be joined and stopped`, async () => {
        {
          await using terminal = world().terminal(ECHO, { args: ["--profile"] })
          // The phases are told when the start is over: before that, each of these takes it back.
          await terminal.sees("ms agent")
          leave(terminal)
          expect(await terminal.exited).toBe(status)
        }
        const identity = await onlyIdentity()
        expect(await active()).toEqual([world().kind.backend, identity, "sh", "agent,egress"])
        await using again = world().onTerminal("attach", identity)
        await joined(again)
        again.type(DETACH)
        await again.sees("runs on")
        expect(await again.exited).toBe(0)
        await world().ok("stop", identity)
        expect(await world().remains()).toEqual(NOTHING)
      })
    }

    test("a stop from elsewhere ends the attached terminal, and the bottle is settled once", async () => {
      await using terminal = world().terminal("echo ready; exec sleep infinity")
      await terminal.sees("ready")
      const identity = await onlyIdentity()
      expect((await world().bottle("stop", identity)).code).toBe(0)
      await terminal.exited
      expect((await world().remains()).running).toEqual([])
    })

    test("an agent nobody watches is not held up by what it writes, and who keeps it stays small", async () => {
      const identity = await world().detached(
        `yes 'a line that fills the buffers of whoever holds the terminal' | head -c 200000000; touch /tmp/written; ${ECHO}`,
      )
      await world().until(identity, "[ -e /tmp/written ]")
      const all = await world().objects.processes(identity)
      const ours = all.filter(({ args }) => /inner(\.js)?$| (keeper|init|egress)$/.test(args))
      expect(ours.length).toBeGreaterThan(2)
      for (const { pid, args } of ours) {
        const peak = /^VmHWM:\s+(\d+) kB/m.exec(await Bun.file(`/proc/${pid}/status`).text())?.[1]
        expect({ args, small: Number(peak) < 200_000 }).toEqual({ args, small: true })
      }
      await using terminal = world().onTerminal("attach", identity)
      await joined(terminal)
    })

    test("attach to one that does a task without a terminal is refused, and the task goes on", async () => {
      await using child = world().spawn("echo works; until [ -e /tmp/go ]; do sleep 0.05; done; echo done")
      let written = ""
      const begun = Promise.withResolvers<void>()
      child.stderr.resume()
      child.stdout.on("data", (chunk: Buffer) => {
        written += chunk.toString()
        begun.resolve()
      })
      await begun.promise
      const identity = await onlyIdentity()
      await using terminal = world().onTerminal("attach", identity)
      await terminal.sees("its agent does one task, without a terminal")
      expect(await terminal.exited).toBe(1)
      await world().inside(identity, ": >/tmp/go")
      expect(await child.exited).toBe(0)
      expect(written).toBe("works\ndone\n")
    })

    test("attach to one that ended, or never was, says so", async () => {
      const identity = await world().detached("exit 0")
      await world().ended(identity)
      await using again = world().onTerminal("attach", identity)
      await again.sees("does not run")
      expect(await again.exited).toBe(1)
      await using never = world().onTerminal("attach", "sh-aaaaa")
      await never.sees("There is no bottle named")
      expect(await never.exited).toBe(1)
    })
  })

  test("Ctrl-C while it starts takes all of it back", async () => {
    await using terminal = world().terminal("exec sleep infinity")
    // The last line before anything is made.
    await terminal.sees("leaves it running")
    terminal.type("\u0003")
    expect(await terminal.exited).toBe(130)
    expect(await world().remains()).toEqual(NOTHING)
  })

  test("N, Enter and Ctrl-C at the question start nothing and leave no trace", async () => {
    for (const [keys, status] of [
      ["n\r", 1],
      ["\r", 1],
      ["\u0003", 130],
    ] as const) {
      await using terminal = world().onTerminal("start", "sh")
      await terminal.sees("[y/N]")
      terminal.type(keys)
      expect(await terminal.exited).toBe(status)
      expect(await world().remains()).toEqual(NOTHING)
    }
  })
})

/** Starts an agent on a terminal and detaches from it; answers with its identity. */
async function startAndLeave(world: World, script = ECHO): Promise<string> {
  await using terminal = world.terminal(script)
  await terminal.sees("ready")
  terminal.type(DETACH)
  await terminal.sees("Back to it: bottle attach sh-")
  expect(await terminal.exited).toBe(0)
  return (await world.ok("list", "active")).split("\t")[1] ?? ""
}

/** Types until the agent answers: docker tells nothing when it has joined. */
async function joined(terminal: TerminalProgram): Promise<void> {
  terminal.type("hello\r")
  await terminal.sees("got hello")
}
