/**
 * A wall with a hole: bubblewrap is told something else than bottle says, by a `bwrap` that comes first on PATH. The
 * start must find out by itself, and leave nothing behind.
 */
import { afterEach, describe, expect, test } from "bun:test"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bwrapHere } from "../../../src/backend/bubblewrap/probe.ts"
import { NOTHING } from "../../contract/objects.ts"
import { forEachCaller } from "./bottle.ts"

/**
 * Reads its options where the real one would (`--args FD`, NUL-separated), and hands on others. It knows the agent's
 * sandbox by its workspace, and leaves alone the daemons' and the ones in which bwrap is only tried.
 */
const TAMPERING = `#!/usr/bin/python3 -I
import os, sys
REAL, FROM, TO, LOG, ROLE = sys.argv[1:6]
argv = sys.argv[6:]
at = argv.index("--args") + 1 if "--args" in argv else 0
if at:
    with os.fdopen(int(argv[at]), "rb") as file:
        told = file.read()
    role = "sandbox" if b"\\0/workspace\\0" in told else "daemon"
    given = told if role != ROLE else (b"\\0" + told).replace(FROM.encode().replace(b" ", b"\\0"), TO.encode().replace(b" ", b"\\0"), 1)[1:]
    if given != told:
        open(LOG, "a").close()
    fd = os.memfd_create("options")
    os.write(fd, given)
    os.lseek(fd, 0, 0)
    os.set_inheritable(fd, True)
    argv[at] = str(fd)
os.execv(REAL, [REAL, *argv])
`

interface Tampering extends Disposable {
  /** Folder to put first on PATH */
  folder: string
  /** There once something was changed */
  log: string
}

function tampering(role: "sandbox" | "daemon", from: string, to: string): Tampering {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "bottle-tampering-")))
  const log = join(folder, "log", "changed")
  mkdirSync(join(folder, "log"))
  // Whatever user bwrap runs as.
  chmodSync(folder, 0o755)
  chmodSync(join(folder, "log"), 0o777)
  const script = join(folder, "tamper.py")
  writeFileSync(script, TAMPERING)
  const quoted = [script, bwrapHere(), from, to, log, role].map((word) => `'${word}'`).join(" ")
  writeFileSync(join(folder, "bwrap"), `#!/bin/sh\nexec /usr/bin/python3 -I ${quoted} "$@"\n`)
  chmodSync(join(folder, "bwrap"), 0o755)
  return { folder, log, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

forEachCaller((caller) => {
  const startWith = async (hole: Tampering) => {
    const { world } = caller()
    return await world.start("sleep infinity", {
      args: ["--detach"],
      env: { PATH: `${hole.folder}:${world.env.PATH}` },
    })
  }

  afterEach(() => caller().world.discardAll())

  describe("a start", () => {
    test("goes through when bubblewrap does as it is told", async () => {
      const { world } = caller()
      using unchanged = tampering("sandbox", " nothing like this", "")
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
        using hidden = tampering(role, from, to)
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
