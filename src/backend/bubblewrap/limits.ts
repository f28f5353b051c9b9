/** How a bottle's limits are enforced on this machine: control groups where they are ours to make, rlimits elsewhere. */
import { totalmem } from "node:os"
import type { Limits } from "../../manifest/types.ts"
import { DEFAULT_LIMITS } from "../../policy/limits.ts"
import { type Machine, systemText, thisMachine } from "../../runtime/machine.ts"
import { limitFolders } from "./cgroups.ts"

export interface LimitPlan {
  /** Processes and threads that RLIMIT_NPROC allows inside; absent where a control group alone counts them */
  nproc?: number
  /** Control groups to be made for the bottle */
  groups: PlannedGroup[]
  /** What this machine does not enforce, for the preflight */
  notes: string[]
}

export interface PlannedGroup {
  /** Folder, absolute, below which the bottle's own is made */
  parent: string
  /** Controllers that the parent has to hand to its children first */
  hand: string[]
  /** What is written into files of the bottle's own group, in this order */
  writes: GroupWrite[]
}

export interface GroupWrite {
  /** Name of the file */
  file: string
  text: string
  /** True where a kernel without swap accounting has no such file */
  optional?: boolean
}

/** First kernel that counts RLIMIT_NPROC per user namespace, and so for one bottle alone */
const NPROC_PER_NAMESPACE: readonly [number, number] = [5, 14]
/** Length of a scheduler's period, in microseconds; the kernel's own choice */
const PERIOD_US = 100_000
/** Least quota that the kernel takes, in microseconds */
const QUOTA_MIN_US = 1000
const UNITS: Record<string, number> = { "": 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 }
/** Most that one tmpfs of a sandbox may hold, in bytes */
const TMPFS_MAX = 4 * 2 ** 30

/** Reads some files of the kernel and changes nothing; below a millisecond. */
export function limitsHere(limits: Limits, machine: Machine = thisMachine()): LimitPlan {
  const { version, folders, unhanded } = limitFolders(machine)
  const pids = limits.pids ?? DEFAULT_LIMITS.pids
  const perBottle = countsPerNamespace(machine)
  const wanted: Limits = { ...limits }
  // The rlimit is as good a wall and costs no group. Where the kernel counts it over all of a user's processes it is not.
  if (perBottle && limits.memory === undefined && limits.cpus === undefined) delete wanted.pids
  else wanted.pids = pids

  const groups = new Map<string, PlannedGroup>()
  const missing: string[] = []
  for (const limit of ["memory", "pids", "cpus"] as const) {
    if (wanted[limit] === undefined) continue
    const parent = folders[limit]
    if (parent === undefined) {
      missing.push(limit)
      continue
    }
    const group = groups.get(parent) ?? { parent, hand: [], writes: [] }
    const controller = limit === "cpus" ? "cpu" : limit
    if (unhanded.includes(controller)) group.hand.push(controller)
    group.writes.push(...writesOf(limit, wanted, version))
    groups.set(parent, group)
  }

  const plan: LimitPlan = { groups: [...groups.values()], notes: [] }
  if (perBottle || missing.includes("pids")) plan.nproc = Math.min(pids, hardNproc(machine))
  const unenforced = missing.filter((limit) => limit !== "pids")
  if (unenforced.length > 0) {
    const why = version === 0 ? "no control groups are mounted" : `cgroup v${version} is not ours to write`
    plan.notes.push(`limits not enforced here: ${unenforced.join(", ")} (${why})`)
  }
  if (!perBottle && missing.includes("pids")) {
    plan.notes.push(
      `pids: this kernel counts all processes of your user, at most ${plan.nproc} while a bottle runs`,
    )
  }
  return plan
}

/**
 * An argv in front of the sandbox's first command, INSIDE bwrap: there the limit counts the processes of the bottle's
 * own user namespace alone. Set before bwrap makes that namespace it would hold for all processes of the host's user,
 * who may have more already (kernel/ucount.c, inc_rlimit_ucounts). It cannot be raised again: that takes CAP_SYS_RESOURCE
 * on the host. Ends with status 125 and a text when the limit cannot be set.
 */
export function rlimitPrefix(nproc: number): string[] {
  // bash and ksh call it -u; dash and busybox -p, which bash takes for the size of pipes and always refuses.
  const script =
    'n=$1; shift; { ulimit -u "$n" || ulimit -p "$n"; } 2>/dev/null && ulimit -c 0 && exec "$@"; ' +
    'echo "bottle: the limit of $n processes cannot be set here, so nothing was started" >&2; exit 125'
  return ["/bin/sh", "-c", script, "bottle", String(nproc)]
}

/** Size of each tmpfs in the sandbox, in bytes: what lies there is memory. */
export function tmpfsSize(limits: Limits, machineBytes: number = totalmem()): number {
  const share = limits.memory === undefined ? machineBytes / 4 : bytesOf(limits.memory) / 2
  return Math.floor(Math.min(share, TMPFS_MAX))
}

function writesOf(limit: keyof Limits, limits: Limits, version: 0 | 1 | 2): GroupWrite[] {
  if (limit === "pids") return [{ file: "pids.max", text: String(limits.pids) }]
  if (limit === "memory") {
    const text = String(bytesOf(limits.memory ?? ""))
    // Swap is not more memory: a bottle with a limit gets none, as with Docker's memory-swap set to the same.
    return version === 2
      ? [
          { file: "memory.max", text },
          { file: "memory.swap.max", text: "0", optional: true },
        ]
      : [
          { file: "memory.limit_in_bytes", text },
          { file: "memory.memsw.limit_in_bytes", text, optional: true },
        ]
  }
  const quota = Math.max(QUOTA_MIN_US, Math.round((limits.cpus ?? 0) * PERIOD_US))
  return version === 2
    ? [{ file: "cpu.max", text: `${quota} ${PERIOD_US}` }]
    : [
        { file: "cpu.cfs_period_us", text: String(PERIOD_US) },
        { file: "cpu.cfs_quota_us", text: String(quota) },
      ]
}

/** Bytes of an amount that the manifest's schema has accepted. */
function bytesOf(memory: string): number {
  const [, digits = "", unit = ""] = /^(\d+)([bkmg]?)$/.exec(memory.toLowerCase()) ?? []
  return Number(digits) * UNITS[unit]!
}

function countsPerNamespace(machine: Machine): boolean {
  const release = systemText(machine, "/proc/sys/kernel/osrelease") ?? ""
  const [, major = "0", minor = "0"] = /^(\d+)\.(\d+)/.exec(release) ?? []
  const [firstMajor, firstMinor] = NPROC_PER_NAMESPACE
  return Number(major) > firstMajor || (Number(major) === firstMajor && Number(minor) >= firstMinor)
}

/** The hard limit that we run under: asking for more than that fails, and less already holds. */
function hardNproc(machine: Machine): number {
  const text = systemText(machine, "/proc/self/limits") ?? ""
  const hard = /^Max processes\s+\S+\s+(\d+)/m.exec(text)?.[1]
  return hard === undefined ? Number.POSITIVE_INFINITY : Number(hard)
}
