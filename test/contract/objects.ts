/** What of a home's bottles is there besides what `bottle` says: processes, containers, volumes and folders. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { homeDigest, LABEL_HOME, LABEL_IDENTITY, namesOf } from "../../src/backend/docker/names.ts"
import { lastLines, run } from "../../src/runtime/spawn.ts"

export interface Remains {
  /** Identities of which something runs, or lies ready to run */
  running: string[]
  /** Identities whose workspace is there */
  work: string[]
  /** Entries of the home's state folder */
  state: string[]
}

export const NOTHING: Remains = { running: [], work: [], state: [] }

export interface HostProcess {
  pid: number
  /** Arguments, joined by blanks */
  args: string
}

/** How one backend's objects are found from the outside, by other means than its own. */
export interface Objects {
  remains(): Promise<Remains>
  /** Processes of one bottle on this machine */
  processes(identity: string): Promise<HostProcess[]>
}

export function stateEntries(home: string): string[] {
  const folder = join(home, "state")
  if (!existsSync(folder)) return []
  // Notes that belong to no bottle.
  return readdirSync(folder)
    .filter((name) => !name.startsWith(".") && !name.endsWith(".json"))
    .sort()
}

export function dockerObjects(home: string): Objects {
  const ours = ["--filter", `label=${LABEL_HOME}=${homeDigest(home)}`]
  const identities = async (...args: string[]) => {
    const format = `{{.Label "${LABEL_IDENTITY}"}}`
    const found = await docker(...args, "--format", format, ...ours)
    return [...new Set(found.split("\n").filter(Boolean))].sort()
  }
  return {
    remains: async () => ({
      running: await identities("ps", "--all"),
      work: await identities("volume", "ls"),
      state: stateEntries(home),
    }),
    processes: async (identity) => {
      const { agent, sidecars } = namesOf(identity)
      const lists = await Promise.all([agent, sidecars].map((name) => docker("top", name, "-eo", "pid")))
      const pids = lists.flatMap((list) => list.split("\n").slice(1).map(Number))
      return pids.flatMap((pid) => described(pid) ?? [])
    },
  }
}

/** Docker's own answer, trimmed. Throws when there is none. */
export async function docker(...args: string[]): Promise<string> {
  const result = await run(["docker", ...args])
  if (result.code !== 0) throw new Error(`docker ${args.join(" ")}: ${lastLines(result.stderr, 5)}`)
  return result.stdout.trim()
}

/** A process belongs to the bottle whose state folder it sees mounted or works in, or whose child it is. */
export function bubblewrapObjects(home: string): Objects {
  const byProcess = () => {
    const owners = new Map<number, string>()
    const parents = new Map<number, number>()
    for (const pid of allProcesses()) {
      const identity = identityOf(pid, home)
      if (identity !== undefined) owners.set(pid, identity)
      parents.set(pid, parentOf(pid))
    }
    // bwrap watches its sandbox from outside, where it sees nothing of it.
    for (const [pid, identity] of [...owners]) {
      const parent = parents.get(pid) ?? 0
      if (!owners.has(parent) && nameOf(parent) === "bwrap") owners.set(parent, identity)
    }
    return owners
  }
  return {
    remains: async () => {
      const state = stateEntries(home)
      return {
        running: [...new Set(byProcess().values())].sort(),
        work: state.filter((name) => existsSync(join(home, "state", name, "workspace"))),
        state,
      }
    },
    processes: async (identity) =>
      [...byProcess()].filter(([, of]) => of === identity).flatMap(([pid]) => described(pid) ?? []),
  }
}

/** Processes of this machine that have not ended. */
export function allProcesses(): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && !/^State:\s+[ZX]/m.test(read(`/proc/${pid}/status`)))
}

/** undefined for one that has ended */
export function described(pid: number): HostProcess | undefined {
  const args = read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim()
  return args === "" ? undefined : { pid, args }
}

function identityOf(pid: number, home: string): string | undefined {
  // Mounts are named from the root of their file system, so that the whole path may not be there.
  const place = `/${basename(dirname(home))}/${basename(home)}/state/`
  const seen = `${read(`/proc/${pid}/mountinfo`)}\n${currentFolder(pid)}/`
  const at = seen.indexOf(place)
  return at < 0 ? undefined : /^[a-z0-9-]+/.exec(seen.slice(at + place.length))?.[0]
}

function currentFolder(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return ""
  }
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0)
}

function nameOf(pid: number): string {
  return read(`/proc/${pid}/comm`).trim()
}

/** Empty for a process that has ended. */
export function read(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}
