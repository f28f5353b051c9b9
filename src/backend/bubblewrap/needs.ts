/** What bubblewrap needs of this machine. Files are read, and nothing is started but an unknown bwrap. */
import { reasonOf } from "../../runtime/error.ts"
import { type Machine, programOnPath, systemNames, systemText, thisMachine } from "../../runtime/machine.ts"
import { met, unmet, worse } from "../need.ts"
import { asRoot, installCommand } from "../packages.ts"
import type { Need } from "../types.ts"
import { appArmorNeeds } from "./apparmor.ts"
import { limitFolders } from "./cgroups.ts"
import { isContainer, ROOT_IN_CONTAINER } from "./container.ts"
import { limitsHere } from "./limits.ts"
import { setting } from "./sysctl.ts"
import { askBubblewrap } from "./version.ts"

/** A bwrap that does not say its version within this is not well, in milliseconds. */
const WITHIN_MS = 1000
/** First kernel that Bun, which inner and the gateway run on, works with */
const KERNEL_MIN: readonly [number, number] = [5, 1]
/** Processors that the seccomp rules are written for */
const PROCESSORS = ["x64", "arm64"]
/** Options without which the wall would be lower; the version tells little, because distributions backport them. */
const OPTIONS = ["--disable-userns", "--unshare-cgroup", "--bind-fd", "--ro-bind-fd", "--seccomp"]
/** What a filter of ours answers with */
const SECCOMP_ACTIONS = ["errno", "kill_process"]
/** One of each limit, as a bottle may set them */
const LIMITS = { memory: "1g", pids: 1024, cpus: 1 }
/** User namespaces that a bottle takes: the sandbox's, its locked one, and the same for each daemon of the gateway */
const NAMESPACES_MIN = 8
/** Number of the capability (capabilities(7)) */
const CAP_SYS_ADMIN = 21n

/**
 * The questions that can be answered in some milliseconds; whether all of it works together is for `bubblewrapTrial`
 * to show. Never throws. Elsewhere than on Linux there is one need, and it is not met.
 */
export async function bubblewrapNeeds(
  signal?: AbortSignal,
  machine: Machine = thisMachine(),
): Promise<Need[]> {
  const system = systemNeed(machine)
  if (machine.platform !== "linux") return [system]
  const path = programOnPath("bwrap", machine.env)
  return [
    system,
    await programNeed(machine, path, signal),
    namespacesNeed(machine),
    ...rootNeeds(machine),
    ...appArmorNeeds(machine, path ?? "/usr/bin/bwrap"),
    seccompNeed(machine),
    limitsNeed(machine),
  ]
}

function systemNeed(machine: Machine): Need {
  const name = "Linux"
  if (machine.platform !== "linux") return unmet(name, `this is ${machine.platform}`)
  const kernel = systemText(machine, "/proc/sys/kernel/osrelease") ?? "unknown"
  const found = `${kernel}, ${machine.arch}`
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(kernel) ?? []
  const [wantedMajor, wantedMinor] = KERNEL_MIN
  const old = Number(major) < wantedMajor || (Number(major) === wantedMajor && Number(minor) < wantedMinor)
  if (old) return unmet(name, `${found}: ${KERNEL_MIN.join(".")} or newer is needed`)
  if (!PROCESSORS.includes(machine.arch)) {
    return unmet(name, `${found}: there are seccomp rules for ${PROCESSORS.join(" and ")} alone`)
  }
  return met(name, found)
}

async function programNeed(machine: Machine, path: string | undefined, signal?: AbortSignal): Promise<Need> {
  const name = "bwrap"
  const install = installCommand(machine, "bubblewrap")
  if (path === undefined) return unmet(name, "not installed, or not on PATH", install)
  try {
    const asked = await askBubblewrap(path, machine.env, {
      timeoutMs: WITHIN_MS,
      killGraceMs: 0,
      ...(signal === undefined ? {} : { signal }),
    })
    if (asked === undefined) return unmet(name, `${path} does not say its version`, install)
    const found = `${asked.version}, ${path}`
    const missing = OPTIONS.filter((option) => !asked.options.includes(option))
    if (missing.length > 0) return unmet(name, `${found} is too old: no ${missing.join(", ")}`, install)
    // bwrap(1): --disable-userns "doesn't work in the setuid version of bubblewrap".
    if (asked.setuid) {
      const found = `${path} is setuid, and then cannot lock user namespaces`
      return unmet(name, found, asRoot(machine, `chmod u-s ${path}`))
    }
    return met(name, found)
  } catch (error) {
    return unmet(name, reasonOf(error), install)
  }
}

function namespacesNeed(machine: Machine): Need {
  const name = "user namespaces"
  const most = systemText(machine, "/proc/sys/user/max_user_namespaces")
  if (most === undefined) return unmet(name, "this kernel has none (CONFIG_USER_NS)")
  if (Number(most) < NAMESPACES_MIN) {
    return unmet(
      name,
      `user.max_user_namespaces is ${most}`,
      setting(machine, "user.max_user_namespaces=15000"),
    )
  }
  // Debian's own switch, in Debian's and some other kernels.
  if (systemText(machine, "/proc/sys/kernel/unprivileged_userns_clone") === "0") {
    const key = "kernel.unprivileged_userns_clone"
    return unmet(name, `${key} is 0`, setting(machine, `${key}=1`))
  }
  return met(name, `up to ${most}`)
}

/** A root that has given up powers, as in most containers, cannot hand folders to the users that a bottle runs as. */
function rootNeeds(machine: Machine): Need[] {
  if (machine.uid !== 0) return []
  const [, mask] = /^CapEff:\s*([0-9a-f]+)/m.exec(systemText(machine, "/proc/self/status") ?? "") ?? []
  if (mask === undefined || ((BigInt(`0x${mask}`) >> CAP_SYS_ADMIN) & 1n) === 1n) return []
  const found = "it may not mount (CAP_SYS_ADMIN); an ordinary user needs no such power"
  return [unmet("powers of root", found, isContainer(machine) ? ROOT_IN_CONTAINER : "")]
}

function seccompNeed(machine: Machine): Need {
  const name = "seccomp"
  const actions = (systemText(machine, "/proc/sys/kernel/seccomp/actions_avail") ?? "").split(" ")
  const missing = SECCOMP_ACTIONS.filter((action) => !actions.includes(action))
  return missing.length === 0
    ? met(name, "filters")
    : unmet(name, "this kernel has no filters (CONFIG_SECCOMP_FILTER)")
}

/** Without them an agent can use up the machine; it cannot leave the bottle. */
function limitsNeed(machine: Machine): Need {
  const { notes } = limitsHere(LIMITS, machine)
  if (notes.length === 0) return met("limits", Object.keys(LIMITS).join(", "))
  // The name of the need stands before it.
  const found = notes.map((note) => note.replace(/^limits /, "")).join("; ")
  return worse("limits", found, delegation(machine))
}

/** A login's own group belongs to root; one below the user's service manager belongs to the user (systemd, "Delegation"). */
function delegation(machine: Machine): string {
  const manager = systemNames(machine, `/run/user/${machine.uid}/systemd`).length > 0
  return manager && limitFolders(machine).version === 2 ? "systemd-run --user --scope bottle start" : ""
}
