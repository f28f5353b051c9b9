/**
 * Programs that come before the ones that `bottle` starts, and make a hole in its wall: they hand on what they are told,
 * with one thing changed.
 */
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { bwrapHere } from "../../src/backend/bubblewrap/probe.ts"
import { composePlugin } from "../../src/backend/docker/compose-plugin.ts"

export interface Tampering extends Disposable {
  /** Variables of the caller's, by which `bottle` finds the program; `path` is the caller's PATH */
  env(path: string): Record<string, string>
  /** There once something was changed */
  log: string
}

/** A Compose plugin that replaces `from` by `to` in every project that it is given. */
export function tamperingCompose(from: string, to: string): Tampering {
  const { folder, log, remove } = place()
  const plugin = join(folder, "cli-plugins", "docker-compose")
  mkdirSync(dirname(plugin))
  const real = composePlugin()
  const script = [
    "#!/bin/sh",
    `case "$*" in *create*) ;; *) exec ${real} "$@" ;; esac`,
    `project=$(cat)`,
    `changed=$(printf %s "$project" | sed 's|${from.replace(/[[\]]/g, "\\$&")}|${to}|')`,
    `[ "$changed" = "$project" ] || echo changed >>${log}`,
    `printf %s "$changed" | ${real} "$@"`,
  ]
  program(plugin, script.join("\n"))
  return { env: () => ({ DOCKER_CONFIG: folder }), log, [Symbol.dispose]: remove }
}

/**
 * Reads its options where the real one would (`--args FD`, NUL-separated), and hands on others. It knows the agent's
 * sandbox by its workspace, and leaves alone the daemons' and the ones in which bwrap is only tried.
 */
const BWRAP = `#!/usr/bin/python3 -I
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

/** A bwrap that replaces `from` by `to`, both with spaces for what ends an option, in what the sandbox or a daemon is given. */
export function tamperingBwrap(role: "sandbox" | "daemon", from: string, to: string): Tampering {
  const { folder, log, remove } = place()
  const script = join(folder, "tamper.py")
  writeFileSync(script, BWRAP)
  const quoted = [script, bwrapHere(), from, to, log, role].map((word) => `'${word}'`).join(" ")
  program(join(folder, "bwrap"), `#!/bin/sh\nexec /usr/bin/python3 -I ${quoted} "$@"`)
  return { env: (path) => ({ PATH: `${folder}:${path}` }), log, [Symbol.dispose]: remove }
}

/** A folder that whoever runs the program may read, and its log write. */
function place(): { folder: string; log: string; remove: () => void } {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "bottle-tampering-")))
  mkdirSync(join(folder, "log"))
  chmodSync(folder, 0o755)
  chmodSync(join(folder, "log"), 0o777)
  return {
    folder,
    log: join(folder, "log", "changed"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function program(path: string, text: string): void {
  writeFileSync(path, `${text}\n`)
  chmodSync(path, 0o755)
}
