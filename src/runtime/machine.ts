/** The machine below us, as far as needs are asked of it: its system files, its programs, who we are. */
import { accessSync, constants, readdirSync, readFileSync, realpathSync, statfsSync, statSync } from "node:fs"
import { isAbsolute, join } from "node:path"
import { callerUid, type HostEnv, hostEnv } from "./home.ts"

export interface Machine {
  /** Folder that `/proc`, `/sys` and `/etc` are read from: `/`, or a copy of another machine's */
  root: string
  env: HostEnv
  /** As Node says it: `linux`, `darwin` */
  platform: string
  /** As Node says it: `x64`, `arm64` */
  arch: string
  /** Numeric user id; -1 where the system has none */
  uid: number
}

export function thisMachine(): Machine {
  return {
    root: "/",
    env: hostEnv(),
    platform: process.platform,
    arch: process.arch,
    uid: callerUid() ?? -1,
  }
}

/** A small system file without the white space around it; undefined when it is not there, or not ours to read. */
export function systemText(machine: Machine, path: string): string | undefined {
  try {
    return readFileSync(join(machine.root, path), "utf8").trim()
  } catch {
    return undefined
  }
}

/** Names in a system folder, empty when it is not there. */
export function systemNames(machine: Machine, path: string): string[] {
  try {
    return readdirSync(join(machine.root, path))
  } catch {
    return []
  }
}

/** Whether this user may write there; false when there is nothing. */
export function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Bytes that this user may still write to the disk of a folder; undefined when it cannot be asked. */
export function freeBytes(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize
  } catch {
    return undefined
  }
}

/**
 * Absolute path of a program, its links followed; undefined when PATH has none. Relative folders of PATH are passed
 * over: they lead into whatever folder we were called from, and a cloned repository could supply the program.
 */
export function programOnPath(name: string, env: HostEnv): string | undefined {
  for (const folder of (env.PATH ?? "").split(":")) {
    if (!isAbsolute(folder)) continue
    try {
      const path = realpathSync(join(folder, name))
      accessSync(path, constants.X_OK)
      // A folder may be "executed" as well.
      if (statSync(path).isFile()) return path
    } catch {
      // Not in this one.
    }
  }
  return undefined
}
