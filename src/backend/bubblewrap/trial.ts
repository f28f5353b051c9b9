/** Starts an empty sandbox, to see whether what bubblewrap needs works together; some milliseconds, for doctor alone. */
import { reasonOf } from "../../runtime/error.ts"
import { type Machine, programOnPath, systemText, thisMachine } from "../../runtime/machine.ts"
import { lastLines, run } from "../../runtime/spawn.ts"
import { met, unmet } from "../need.ts"
import type { Need } from "../types.ts"
import { profileCommand } from "./apparmor.ts"
import { isContainer, ROOT_IN_CONTAINER, USER_IN_CONTAINER } from "./container.ts"
import { bubblewrapNeeds } from "./needs.ts"
import { setting } from "./sysctl.ts"

/** A sandbox that does not start within this never will, in milliseconds. */
const WITHIN_MS = 1000
/** Nobody (Linux' overflow ids): root must not try as root, which is not what a bottle runs as */
const NOBODY = { uid: 65534, gid: 65534 }
const NAME = "a sandbox starts"

/** What every sandbox of ours is built with: all namespaces, locked ones, no capability, its own /proc and /dev. */
const SANDBOX = [
  ...["--unshare-user", "--unshare-all", "--disable-userns", "--cap-drop", "ALL"],
  ...["--new-session", "--die-with-parent", "--clearenv"],
  ...["/usr", "/bin", "/lib", "/lib64", "/nix"].flatMap((path) => ["--ro-bind-try", path, path]),
  ...["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/"],
]

/** All that doctor asks of bubblewrap: its needs, and, where they are met, the trial. Never throws. */
export async function triedBubblewrap(
  signal?: AbortSignal,
  machine: Machine = thisMachine(),
): Promise<Need[]> {
  const needs = await bubblewrapNeeds(signal, machine)
  const bwrap = programOnPath("bwrap", machine.env)
  // What is missing already would only be told a second time, in bwrap's words.
  if (bwrap === undefined || needs.some((need) => need.required && !need.ok)) return needs
  return [...needs, await bubblewrapTrial(bwrap, signal, machine)]
}

/** `bwrap` is its absolute path. Never throws. */
export async function bubblewrapTrial(
  bwrap: string,
  signal?: AbortSignal,
  machine: Machine = thisMachine(),
): Promise<Need> {
  try {
    const tried = await run([bwrap, ...SANDBOX, "--", "/bin/sh", "-c", "exit 0"], {
      cwd: "/",
      env: {},
      timeoutMs: WITHIN_MS,
      killGraceMs: 0,
      ...(signal === undefined ? {} : { signal }),
      ...(machine.uid === 0 ? { as: NOBODY } : {}),
    })
    if (tried.code === 0) return met(NAME, "with every namespace, and none left to make inside")
    const why = lastLines(tried.stderr, 1) || `bwrap ended with ${tried.code}`
    return unmet(NAME, why, mendOf(why, machine, bwrap))
  } catch (error) {
    return unmet(NAME, reasonOf(error))
  }
}

/** The command for what bubblewrap complains of; empty for what has more than one reason. */
function mendOf(why: string, machine: Machine, bwrap: string): string {
  if (isContainer(machine) && /proc|new namespace|not permitted/i.test(why)) {
    return machine.uid === 0 ? ROOT_IN_CONTAINER : USER_IN_CONTAINER
  }
  // AppArmor lets the namespace be made and takes its capabilities: whatever needs one first fails.
  const restricted = systemText(machine, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns") === "1"
  if (restricted && /denied|not permitted/i.test(why)) return profileCommand(machine, bwrap)
  // The kernel's word for too many namespaces (user_namespaces(7), ENOSPC).
  return /no space left/i.test(why) ? setting(machine, "user.max_user_namespaces=15000") : ""
}
