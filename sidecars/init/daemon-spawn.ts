/**
 * Makes a daemon's process. It stands apart from what looks after the process, so that init can start its daemons
 * before it has loaded the rest of itself: both load at once, and a bottle starts that much sooner.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import type { Readable, Writable } from "node:stream"
import type { DaemonSpec } from "./daemons.ts"

/** How a daemon's process is made: in the gateway image through `setpriv`, elsewhere as it is. */
export type DaemonCommand = (spec: DaemonSpec) => string[]

export type DaemonChild = ChildProcessByStdio<Writable, Readable, Readable>

/** How daemons come and go here. */
export interface DaemonSpawner {
  spawn(spec: DaemonSpec): DaemonChild
  /** Asks one to end by itself */
  end(child: DaemonChild): void
}

/** Daemons that are children of ours without anything between. */
export function directSpawner(command: DaemonCommand): DaemonSpawner {
  return { spawn: (spec) => spawnDaemon(spec, command), end: (child) => void child.kill("SIGTERM") }
}

/** Starts a daemon with its own environment and nothing else. One that cannot be started has no pid. */
export function spawnDaemon(spec: DaemonSpec, command: DaemonCommand): DaemonChild {
  const [file = "", ...args] = command(spec)
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], env: spec.env })
  // Whoever follows the process sees both as its end.
  child.on("error", () => {})
  child.stdin.on("error", () => {})
  return child
}
