/**
 * Who is at work: names a process so that a later command can tell whether that very process still lives. A pid alone
 * does not, because pids are used again; with its start time and the machine's boot it does.
 */
import { readFile, readlink } from "node:fs/promises"
import process from "node:process"
import { type RunResult, run } from "./spawn.ts"

export interface ProcessOwner {
  /** Process id, in the pid namespace below */
  pid: number
  /** Start of the process: clock ticks after boot on Linux, UTC date text of `ps` on macOS */
  start_time: string
  /** Name of the machine's boot; a process of another boot is gone */
  boot_id: string
  /** Name of the pid namespace, empty where the system has none */
  pid_namespace: string
}

/** What is asked of the operating system; tests give another platform's answers. */
export interface System {
  platform: string
  /** Text of a file */
  read(path: string): Promise<string>
  /** Target of a symbolic link */
  link(path: string): Promise<string>
  /** Runs a command to its end */
  run(argv: readonly string[]): Promise<RunResult>
}

export const THIS_SYSTEM: System = {
  platform: process.platform,
  read: (path) => readFile(path, "utf8"),
  link: (path) => readlink(path),
  // `ps` prints the start in local time and in the user's language: both are pinned, so that texts compare.
  run: (argv) => run(argv, { env: { ...process.env, LC_ALL: "C", TZ: "UTC" }, timeoutMs: 5_000 }),
}

/** The numeric id of the user this process runs as, -1 where there is none. */
export function currentUid(): number {
  return process.getuid?.() ?? -1
}

let self: Promise<ProcessOwner> | undefined

/** This process, asked of the system once. */
export function currentOwner(): Promise<ProcessOwner> {
  self ??= describeOwner(process.pid)
  return self
}

/** The process with that id, which must live. */
export async function describeOwner(pid: number, system: System = THIS_SYSTEM): Promise<ProcessOwner> {
  const start = await startTime(pid, system)
  if (start === undefined) throw new Error(`process ${pid} does not run`)
  return { pid, start_time: start, boot_id: await bootId(system), pid_namespace: await pidNamespace(system) }
}

/**
 * Whether that very process still runs. In doubt it does: a process that cannot be looked at from here (another pid
 * namespace on this machine, a refused `/proc`) counts as alive, because what belongs to it would be removed.
 */
export async function ownerAlive(owner: ProcessOwner, system: System = THIS_SYSTEM): Promise<boolean> {
  if (owner.boot_id !== (await bootId(system))) return false
  if (owner.pid_namespace !== (await pidNamespace(system))) return true
  try {
    return (await startTime(owner.pid, system)) === owner.start_time
  } catch {
    return true
  }
}

/** When the process started; undefined when it is gone or a zombie, which holds nothing any more. */
function startTime(pid: number, system: System): Promise<string | undefined> {
  return system.platform === "linux" ? linuxStart(pid, system) : psStart(pid, system)
}

async function linuxStart(pid: number, system: System): Promise<string | undefined> {
  let stat: string
  try {
    stat = await system.read(`/proc/${pid}/stat`)
  } catch (error) {
    // ESRCH: the process ended between the open and the read (proc(5)).
    const code = (error as NodeJS.ErrnoException).code
    if (code === "ENOENT" || code === "ESRCH") return undefined
    throw error
  }
  // proc(5): field 2 is the program's name in brackets and may hold spaces and brackets itself, so the fields are
  // counted after the last one. Field 3 is the state, field 22 the start in clock ticks.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const state = fields[0]
  const start = fields[19]
  if (start === undefined) throw new Error(`/proc/${pid}/stat has no start time`)
  return state === "Z" || state === "X" ? undefined : start
}

async function psStart(pid: number, system: System): Promise<string | undefined> {
  const { code, stdout, stderr } = await system.run(["ps", "-o", "lstart=", "-o", "stat=", "-p", String(pid)])
  // `ps -p` exits with 1, and prints nothing, when there is no such process; anything else is `ps` itself failing.
  if (code === 1 && stdout.trim() === "" && stderr.trim() === "") return undefined
  const words = stdout.trim().split(/\s+/)
  const state = words.pop()
  if (code !== 0 || state === undefined || words.length === 0) throw new Error(`ps failed: ${stderr.trim()}`)
  return state.startsWith("Z") ? undefined : words.join(" ")
}

async function bootId(system: System): Promise<string> {
  if (system.platform === "linux") return (await system.read("/proc/sys/kernel/random/boot_id")).trim()
  return (await system.run(["sysctl", "-n", "kern.bootsessionuuid"])).stdout.trim()
}

async function pidNamespace(system: System): Promise<string> {
  return system.platform === "linux" ? system.link("/proc/self/ns/pid") : ""
}
