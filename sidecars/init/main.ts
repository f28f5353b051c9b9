/** init in the gateway: reads its environment, drops each daemon to its own user, and turns signals into an end. */
import { chownSync, mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { CONTROL_SOCKET, LEDGER_DIR, LIFELINE_SOCKET, SOCKET_DIR } from "../../src/policy/paths.ts"
import { type DaemonCommand, directSpawner } from "./daemon-spawn.ts"
import { selectDaemons } from "./daemons.ts"

export async function runInit(): Promise<void> {
  const selection = selectDaemons(process.env.BOTTLE_SIDECAR_DAEMONS)
  for (const name of selection.unknown)
    log("init", `unknown daemon "${name}" in BOTTLE_SIDECAR_DAEMONS is ignored`)
  if (selection.daemons.length === 0) log("init", "no daemons selected")

  mkdirSync(SOCKET_DIR, { recursive: true, mode: 0o755 })
  for (const daemon of selection.daemons) {
    const dir = join(SOCKET_DIR, daemon.name)
    mkdirSync(dir, { recursive: true, mode: 0o755 })
    chownSync(dir, daemon.uid, daemon.uid)
  }
  const spawner = directSpawner(asOwnUser)
  const running = new Map(selection.daemons.map((spec) => [spec.name, spawner.spawn(spec)]))
  const { Gateway } = await import("./gateway.ts")
  const gateway = new Gateway({
    identity: process.env.BOTTLE_IDENTITY ?? "unknown",
    daemons: selection.daemons,
    spawner,
    running,
    lifelineSocket: LIFELINE_SOCKET,
    controlSocket: CONTROL_SOCKET,
    ledgerDir: LEDGER_DIR,
    notesDir: dirname(LEDGER_DIR),
    stdio: true,
    log,
  })
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void gateway.end(signal))
  await gateway.start()
  process.exit(await gateway.ended)
}

/**
 * A user of its own, no capabilities and none to regain, and this bundle as the program: a daemon that is taken over
 * can neither read another's memory and files nor signal it.
 */
const asOwnUser: DaemonCommand = (spec) => [
  "/usr/bin/setpriv",
  `--reuid=${spec.uid}`,
  `--regid=${spec.uid}`,
  "--clear-groups",
  "--inh-caps=-all",
  "--no-new-privs",
  "--",
  process.execPath,
  "--no-env-file",
  process.argv[1] ?? "",
  spec.name,
]

/** On stderr: stdout is the host's. */
function log(name: string, line: string): void {
  process.stderr.write(`[${name}] ${line}\n`)
}
