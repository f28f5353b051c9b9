/** The terminal of an agent whose streams are kept for it: what reaches the user's of it, and what of the user's the agent. */
import { describe, expect, test } from "bun:test"
import { createHash, randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { BUBBLEWRAP, DETACH, onBackends, PROGRAM, STAY, WAIT } from "../contract/world.ts"
import { onTerminal } from "../fixtures/terminal.ts"
import type { Window } from "./window.ts"
import { onlyIdentity, startAndLeave, windowsOf } from "./windows.ts"

/** The memory that a terminal's holder may take after whatever came, in KiB: its runtime, and some of it not yet given back */
const HOLDER_MAX_KIB = 200_000
/** In milliseconds: what is under way is shown first, and two processors are shared with whoever else is at work */
const AT_ONCE_MS = 5000

onBackends(BUBBLEWRAP, (world) => {
  const { open, start, attach } = windowsOf(world)

  describe("what an agent writes", () => {
    const harmless = "\\033[1;32mgreen\\033[m \\033[4mline\\033[m"
    const acts = [
      "\\033]0;a title\\a",
      "\\033]2;a title\\033\\\\",
      "\\033]52;c;Y29weQ==\\a",
      "\\033]777;notify;look;here\\a",
    ]
    const never = [
      "\\033]52;c;?\\a",
      "\\033[8;10;10t",
      "\\033[21t",
      "\\033P1;1|17/6c73\\033\\\\",
      "\\033]1337;File=name=eA==:eA==\\a",
      "\\033]50;?\\a",
      "\\033]7;file:///etc\\a",
      "\\033[5i",
      "\\033_Ga=t,t=f;L2V0Yy9wYXNzd2Q=\\033\\\\",
    ]
    const script = `printf '${[...acts, ...never, harmless].join("")} ready'; ${STAY}`
    /** Titles saved and put back are ours, so that the user's own title comes back */
    const acted = ({ screen }: Window) => [...new Set(screen.acted)].filter((what) => what !== "CSI t").sort()

    for (const [allowed, expected] of [
      ["", []],
      ["[clipboard]", ["OSC 52"]],
      ["[title]", ["title a title"]],
      ["[clipboard, title, notify]", ["OSC 52", "OSC 777", "title a title"]],
    ] as const) {
      test(`acts outside of the screen ${allowed === "" ? "in no way" : `by ${allowed} alone when the bottle allows it`}`, async () => {
        world().manifest("sh", allowed === "" ? "" : `terminal: { allow: ${allowed} }`)
        await using window = start(script)
        await window.shows("green line ready")
        expect(acted(window)).toEqual([...expected])
        expect(window.written()).toContain("\u001b[1;32mgreen")
        // What has answered nothing was not asked either.
        expect(window.screen.typed).toEqual([])
      })
    }

    test("is allowed by what the bottle said when it was started, and copied once only", async () => {
      world().manifest("sh", "terminal: { allow: [clipboard] }")
      const identity = await startAndLeave(world(), start(script), "green line ready")
      world().manifest("sh", "terminal: { allow: [title, notify] }")
      await using again = attach(identity)
      await again.shows("green line ready")
      expect(acted(again)).toEqual([])
      await world().ok("exec", identity, "--", "bash", "-c", `printf '${acts.join("")} more' >/dev/pts/0`)
      await again.shows("more")
      expect(acted(again)).toEqual(["OSC 52"])
    })
  })

  describe("an agent that floods its terminal", () => {
    const flood = `trap : INT; echo ready; read; yes; echo "over $?"; ${STAY}`
    const flooding = (...args: string[]) => {
      const { cwd, env, as } = world()
      return onTerminal([PROGRAM, ...args], { cwd, env, ...as })
    }

    test("is interrupted by Ctrl-C at once", async () => {
      await using terminal = flooding("start", "sh", "--yes", "--", "-c", flood)
      await terminal.sees("ready")
      terminal.type("\r")
      await terminal.sees("y".repeat(10_000))
      const begun = performance.now()
      terminal.type("\u0003")
      await terminal.sees("over 130")
      expect(performance.now() - begun).toBeLessThan(AT_ONCE_MS)
    })

    test("can be left, joined and interrupted meanwhile", async () => {
      await using terminal = flooding("start", "sh", "--yes", "--", "-c", flood)
      await terminal.sees("ready")
      terminal.type("\r")
      await terminal.sees("y".repeat(10_000))
      terminal.type(DETACH)
      await terminal.sees("Detached from")
      expect(await terminal.exited).toBe(0)
      await using again = flooding("attach", await onlyIdentity(world()))
      await again.sees("y".repeat(10_000))
      again.type("\u0003")
      await again.sees("over 130")
    })

    test("is not held up by a window that has stopped, whose keeper stays small and which sees the end", async () => {
      const script = `echo ready; read; yes 'a line of some length' | head -c 200000000; touch /tmp/written; echo last words; ${STAY}`
      await using terminal = flooding("start", "sh", "--yes", "--", "-c", script)
      await terminal.sees("ready")
      const identity = await onlyIdentity(world())
      terminal.type("\r")
      await terminal.sees("a line of some length")
      terminal.kill("SIGSTOP")
      await world().until(identity, "[ -e /tmp/written ]")
      const ours = (await world().objects.processes(identity)).filter(({ args }) => /inner|keeper/.test(args))
      expect(ours.length).toBeGreaterThan(1)
      for (const { pid, args } of ours) {
        const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1])
        expect({ args, peak, small: peak < HOLDER_MAX_KIB }).toEqual({ args, peak, small: true })
      }
      terminal.kill("SIGCONT")
      await terminal.sees("last words")
      terminal.type(DETACH)
      expect(await terminal.exited).toBe(0)
    })
  })

  describe("what is typed", () => {
    test("reaches the agent whole, 100 KB pasted at once with the detach keys in them", async () => {
      const pasted = `\u001b[200~${DETACH}${randomBytes(75 * 1024).toString("base64")}${DETACH}\u001b[201~`
      const script = `stty raw -echo; printf ready; head -c ${pasted.length} | sha256sum; ${STAY}`
      await using window = start(script)
      await window.shows("ready")
      window.type(pasted)
      await window.shows(createHash("sha256").update(pasted).digest("hex"))
      window.type(DETACH)
      expect(await window.exited).toBe(0)
    })

    test("is the agent's own: Ctrl-Z stops its job and not us, Ctrl-C ends it, Ctrl-D ends the agent", async () => {
      const prompt = (window: Window) =>
        window.until("a prompt", () => window.written().trimEnd().endsWith("$"))
      await using window = open([PROGRAM, "start", "sh", "--yes", "--", "--norc"])
      await prompt(window)
      window.type(`bash -c 'trap "echo on" CONT; echo "u"p; ${WAIT}'\r`)
      await window.shows("\nup")
      window.type("\u001a")
      await window.shows("Stopped")
      await prompt(window)
      window.type("fg\r")
      await window.shows("\non\n")
      window.type("\u0003")
      await prompt(window)
      window.type('echo "left $?"\r')
      await window.shows("\nleft 130")
      window.type("\u0004")
      expect(await window.exited).toBe(0)
    })
  })
})
