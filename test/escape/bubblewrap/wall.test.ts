/**
 * A wall with a hole: bubblewrap is told something else than bottle says, by a `bwrap` that comes first on PATH. The
 * start must find out by itself, and leave nothing behind.
 */
import { afterEach, describe, expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { NOTHING } from "../../contract/objects.ts"
import { type Tampering, tamperingBwrap } from "../tampering.ts"
import { forEachCaller } from "./bottle.ts"

forEachCaller((caller) => {
  const startWith = async (hole: Tampering) => {
    const { world } = caller()
    return await world.start("sleep infinity", {
      args: ["--detach"],
      env: hole.env(world.env.PATH ?? ""),
    })
  }

  afterEach(() => caller().world.discardAll())

  describe("a start", () => {
    test("goes through when bubblewrap does as it is told", async () => {
      const { world } = caller()
      using unchanged = tamperingBwrap("sandbox", " nothing like this", "")
      const { code, stdout } = await startWith(unchanged)
      expect(code).toBe(0)
      expect(existsSync(unchanged.log)).toBe(false)
      await world.ok("stop", stdout.trim())
      expect(await world.remains()).toEqual(NOTHING)
    })

    for (const [hole, role, from, to, named] of [
      ["the sandbox is in the host's network", "sandbox", " --unshare-net", "", "network interfaces"],
      ["the sandbox has capabilities", "sandbox", " --cap-drop ALL", " --cap-add ALL", "CapBnd"],
      ["the sandbox's system calls are not filtered", "sandbox", " --seccomp", " --sync-fd", "Seccomp"],
      [
        "the sandbox has another folder in the place of the gateway's",
        "sandbox",
        " --remount-ro /run/bottle",
        " --tmpfs /run/bottle/sock/egress --remount-ro /run/bottle",
        "gateway",
      ],
      ["the gateway may not listen", "daemon", " --bind", " --ro-bind", "gateway"],
    ] as const) {
      test(`is refused when ${hole}, and everything is taken back`, async () => {
        const { world } = caller()
        using hidden = tamperingBwrap(role, from, to)
        const result = await startWith(hidden)
        expect(existsSync(hidden.log)).toBe(true)
        expect(result.code).toBe(1)
        expect(result.stderr).toContain(named)
        expect(result.stdout).toBe("")
        expect(await world.remains()).toEqual(NOTHING)
      })
    }
  })
})
