/** A user's terminal after an agent had it: as it was, and with nothing typed into the shell. */
import { describe, expect, test } from "bun:test"
import { BUBBLEWRAP, DETACH, onBackends, PROGRAM, STAY } from "../contract/world.ts"
import { openScreen } from "../fixtures/screen.ts"
import type { Window, WindowOptions } from "./window.ts"
import { onlyIdentity, startAndLeave, windowsOf } from "./windows.ts"

onBackends(BUBBLEWRAP, (world) => {
  const { open, start, attach } = windowsOf(world)

  describe("a terminal that is given back", () => {
    const all = [
      ..."1 25 1000 1003 1004 1006 2004"
        .split(" ")
        .map((mode) => `\\033[?${mode}${mode === "25" ? "l" : "h"}`),
      "\\033[4h\\033=\\033[?7l\\033[?6h\\033[31m\\033(0\\033[?1049h\\033[2J\\033[3;3H",
    ].join("")
    using fresh = openScreen()
    const untouched = fresh.state()
    // The caller's shell, which reads on when `bottle` has left.
    const shell = (args: string[], more?: Partial<WindowOptions>) => {
      const line = '"$@"; stty -a | tr "\\n" " "; printf "rest "; read -rsn5 rest; printf "<%q>" "$rest"'
      return open(["bash", "-c", line, "sh", PROGRAM, ...args], { columns: 120, rows: 40, ...more })
    }
    const inShell = (script: string, more?: Partial<WindowOptions>) =>
      shell(["start", "sh", "--yes", "--", "-c", script], more)
    const expectOwn = (window: Window) => {
      expect(window.screen.state()).toEqual(untouched)
      const lines = window.screen.lines().join("")
      for (const setting of ["echo", "icanon", "isig", "icrnl", "opost", "onlcr"]) {
        expect(lines).toMatch(new RegExp(`[ ;]${setting}[ ;]`))
      }
    }

    test("is as it was, whatever the agent had switched on, when it is left, joined and left again", async () => {
      await using window = inShell(`printf '${all}ready'; ${STAY}`)
      await window.until("the agent's modes", () => window.screen.state().screen === "alternate")
      expect(window.screen.state()).not.toEqual(untouched)
      window.type(DETACH)
      await window.shows("rest")
      expectOwn(window)
      const identity = await onlyIdentity(world())
      await using again = shell(["attach", identity])
      await again.until("the agent's screen", () => again.screen.state().screen === "alternate")
      again.type(DETACH)
      await again.shows("rest")
      expectOwn(again)
      expect(again.screen.lines().join("\n")).toContain(`Back to it: bottle attach ${identity}`)
    })

    test("is as it was after an agent that died in the midst of it all", async () => {
      await using window = inShell(`printf '${all}ready'; kill -KILL $$`)
      await window.shows("rest")
      expectOwn(window)
      expect(window.screen.lines().join("\n")).toContain("its agent ended with 137")
    })

    test("is not touched where the agent left it alone", async () => {
      await using window = inShell(`printf '\\033[?2004h'; echo ready; ${STAY}`)
      await window.shows("ready")
      window.type(DETACH)
      await window.shows("rest")
      const switched = window.written().match(/\u001b\[[?<>=]?[\d;]*[hlru]/g)
      expect(switched).toEqual(["\u001b[?2004h", "\u001b[?2004l"])
    })

    test("pops the keys' protocols as often as they were pushed, after joining and falling behind too", async () => {
      const identity = await startAndLeave(
        world(),
        start(
          `printf '\\033[>1u\\033[>5uready'; read; seq 9000000; touch /tmp/written; printf last; ${STAY}`,
        ),
        "ready",
      )
      await using again = attach(identity)
      await again.shows("ready")
      again.type("\r")
      await again.shows("1000")
      again.kill("SIGSTOP")
      await world().until(identity, "[ -e /tmp/written ]")
      again.kill("SIGCONT")
      await again.shows("last")
      again.type(DETACH)
      expect(await again.exited).toBe(0)
      const pushed = again.written().match(/\u001b\[>\du/g) ?? []
      // Twice when it joined, and twice for each time that its screen was sent anew.
      expect(pushed.length).toBeGreaterThan(2)
      expect(keyboardDepth(again.written())).toBe(0)
    })

    test("takes answers under way away from the shell, and nothing of what is typed after", async () => {
      await using window = inShell(`printf '\\033[6n ready'; ${STAY}`, { slow: true })
      await window.shows("ready")
      window.type(DETACH)
      // What is asked last is asked by us: its answer shows that all have come.
      await window.until("the last question", () => window.written().includes("\u001b[c"))
      window.answer()
      await window.shows("rest")
      window.type("typed")
      await window.shows("<typed>")
    })

    test("is given back all the same when it never answers", async () => {
      await using window = inShell(`printf '\\033[6n ready'; ${STAY}`, { slow: true })
      await window.shows("ready")
      window.type(DETACH)
      await window.shows("rest")
      // Without the wait every answer would end like these, which come after it.
      window.answer()
      await window.shows("<$'\\E[")
    })

    test("gets no control sequence of ours where TERM says that it takes none", async () => {
      await using window = inShell(`echo ready; ${STAY}`, { env: { TERM: "dumb" } })
      await window.shows("ready")
      const identity = await onlyIdentity(world())
      window.type(DETACH)
      await window.shows("rest")
      expect(window.written()).not.toContain("\u001b")
      expectOwn(window)
      await using again = shell(["attach", identity], { env: { TERM: "dumb" } })
      await again.shows("ready")
      again.type(DETACH)
      await again.shows("rest")
      expect(again.written()).not.toContain("\u001b")
    })
  })
})

/** How many of the keyboard's settings a terminal has on its stack (kitty's protocol) after all that was written. */
function keyboardDepth(written: string): number {
  let depth = 0
  for (const [, kind, count] of written.matchAll(/\u001b\[([<>])(\d*)u/g)) {
    depth = kind === ">" ? depth + 1 : Math.max(0, depth - Math.max(1, Number(count)))
  }
  return depth
}
