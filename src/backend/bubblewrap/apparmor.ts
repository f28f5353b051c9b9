/** AppArmor's say in who may have a user namespace (Ubuntu 23.10 and later). */
import { type Machine, systemNames, systemText } from "../../runtime/machine.ts"
import { met, unmet } from "../need.ts"
import { asRoot } from "../packages.ts"
import type { Need } from "../types.ts"

const FOLDER = "/etc/apparmor.d"

/**
 * Where it restricts them, a program has a useful one only when a profile says so. Which profiles are loaded is root's
 * to read; the files that they are loaded from are everybody's. None where the kernel has no such restriction.
 */
export function appArmorNeeds(machine: Machine, bwrap: string): Need[] {
  const switched = systemText(machine, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
  if (switched === undefined) return []
  if (switched !== "1") return [met("AppArmor", "leaves user namespaces alone")]
  const off = systemNames(machine, `${FOLDER}/disable`)
  const profile = systemNames(machine, FOLDER)
    .filter((file) => file.includes("bwrap") && !off.includes(file))
    .find((file) => allowsNamespaces(systemText(machine, `${FOLDER}/${file}`) ?? "", bwrap))
  if (profile !== undefined) return [met("AppArmor", `lets bwrap have user namespaces (profile ${profile})`)]
  return [unmet("AppArmor", "keeps user namespaces from bwrap", profileCommand(machine, bwrap))]
}

/** Commands that write a profile for bwrap and load it. It confines nothing, which is bwrap's own work. */
export function profileCommand(machine: Machine, bwrap: string): string {
  const text = ["abi <abi/4.0>,", `profile bwrap ${bwrap} flags=(unconfined) {`, "  userns,", "}"]
  const file = `${FOLDER}/bwrap`
  const write = `printf '%s\\n' '${text.join("\n")}' | \\\n  ${asRoot(machine, `tee ${file}`)}`
  return `${write}\n${asRoot(machine, `apparmor_parser -r ${file}`)}`
}

function allowsNamespaces(profile: string, bwrap: string): boolean {
  const lines = profile.split("\n").map((line) => line.replace(/^\s*#.*/, ""))
  return lines.some((line) => line.includes(bwrap)) && lines.some((line) => /\buserns\b/.test(line))
}
