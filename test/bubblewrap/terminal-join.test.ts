/** Windows that join an agent: what they see, and what several of them are to it. */
import { describe, expect, test } from "bun:test"
import { BUBBLEWRAP, DETACH, onBackends, STAY, WAIT } from "../contract/world.ts"
import { onlyIdentity, startAndLeave, windowsOf } from "./windows.ts"

onBackends(BUBBLEWRAP, (world) => {
  const { start, attach } = windowsOf(world)

  describe("whoever joins", () => {
    test("sees the screen as it is at once, of an agent that does not draw it anew", async () => {
      const drawing =
        "\\033[?1049h\\033[2J\\033[5;10H\\033[7mfifth\\033[m\\033[20;1Hlast\\033[10;40Hmiddle\\033[3;3H"
      await using first = start(`stty -echo; printf 'main\\n\\a${drawing}'; ${STAY}`)
      await first.shows("middle")
      const seen = first.screen.lines()
      const state = first.screen.state()
      first.type(DETACH)
      expect(await first.exited).toBe(0)
      await using again = attach(await onlyIdentity(world()))
      await again.shows("middle")
      expect(again.screen.lines()).toEqual(seen)
      expect(again.screen.state()).toEqual(state)
      expect(again.written()).not.toContain("\u0007")
    })

    test("is not asked again what was answered before", async () => {
      const script = `stty raw -echo; printf '\\033[6n'; read -rsd R; printf 'ready '; cat -v`
      const identity = await startAndLeave(world(), start(script), "ready")
      await using again = attach(identity)
      await again.shows("ready")
      again.type("typed.")
      await again.shows("ready typed.")
      expect(again.screen.typed).toEqual([])
    })

    test("in a small window sees what a small window shows", async () => {
      const script = `tell() { printf 'now %s %s.\n' $(stty size); }; trap tell WINCH; tell; ${WAIT}`
      await using small = start(script, { columns: 20, rows: 5 })
      await small.shows("now 5 20.")
      small.type(DETACH)
      expect(await small.exited).toBe(0)
      await using one = attach(await onlyIdentity(world()), { columns: 1, rows: 1 })
      await one.until("the agent's terminal", () => one.written().includes("now 1 1."))
    })
  })

  describe("two windows at one agent", () => {
    test("have the size of the smaller one, until it leaves or is killed", async () => {
      const script = `tell() { printf 'now %s %s.\n' $(stty size); }; trap tell WINCH; tell; ${WAIT}`
      await using large = start(script, { columns: 100, rows: 40 })
      await large.shows("now 40 100.")
      const identity = await onlyIdentity(world())
      {
        await using narrow = attach(identity, { columns: 60, rows: 50 })
        await Promise.all([large.shows("now 40 60."), narrow.shows("now 40 60.")])
        narrow.resize(70, 20)
        await Promise.all([large.shows("now 20 70."), narrow.shows("now 20 70.")])
        narrow.kill("SIGKILL")
        await narrow.exited
      }
      await large.until("the size of before", () => large.written().split("now 40 100.").length === 3)
    })

    test("give one answer to a question: the first one's, or the other's when it has left", async () => {
      const script =
        "stty raw -echo; printf ready; while read -rsn1; do printf '\\033[6n'; read -rsd R; printf 'got%q' \"$REPLY\"; done"
      await using first = start(script)
      await first.shows("ready")
      await using second = attach(await onlyIdentity(world()))
      await second.shows("ready")
      second.type("?")
      await Promise.all([first.shows("got$'\\E["), second.shows("got$'\\E[")])
      expect(first.screen.typed.length).toBe(1)
      expect(second.screen.typed).toEqual([])
      first.kill("SIGKILL")
      await first.exited
      second.type("?")
      await second.until("the second answer", () => second.screen.typed.length === 1)
      await second.until("the agent's second line", () => second.written().split("got").length === 3)
    })
  })
})
