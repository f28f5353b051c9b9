/** How a missing program is installed on this machine: the one command, ready to copy. */
import { type Machine, systemText } from "../runtime/machine.ts"

type Manager = "apt" | "dnf" | "pacman" | "apk" | "zypper" | "brew"

/**
 * Names of packages, separated by blanks. Where they differ, by ID of os-release(5) or by manager, the closest first;
 * where neither is there, there is no such package.
 */
export type PackageNames = string | Record<string, string>

const INSTALL: Record<Manager, string> = {
  apt: "apt install",
  dnf: "dnf install",
  pacman: "pacman -S",
  apk: "apk add",
  zypper: "zypper install",
  brew: "brew install",
}

/** IDs of os-release(5), each with the manager of its family */
const FAMILIES: Record<string, Manager> = {
  debian: "apt",
  ubuntu: "apt",
  fedora: "dnf",
  rhel: "dnf",
  centos: "dnf",
  arch: "pacman",
  alpine: "apk",
  suse: "zypper",
  opensuse: "zypper",
}

/** The command that installs packages; empty where this machine's way of doing so is not known. */
export function installCommand(machine: Machine, names: PackageNames): string {
  const { ids, manager } = distribution(machine)
  if (manager === undefined) return ""
  const key = [...ids, manager].find((one) => typeof names !== "string" && Object.hasOwn(names, one))
  const wanted = typeof names === "string" ? names : key === undefined ? undefined : names[key]
  if (wanted === undefined) return ""
  const command = `${INSTALL[manager]} ${wanted}`
  // Homebrew refuses to run as root.
  return manager === "brew" ? command : asRoot(machine, command)
}

/** A command for root, as this user writes it. */
export function asRoot(machine: Machine, command: string): string {
  return machine.uid === 0 ? command : `sudo ${command}`
}

/** IDs from the closest to the farthest, as `ID` and `ID_LIKE` say them. */
export function distribution(machine: Machine): { ids: string[]; manager?: Manager } {
  if (machine.platform === "darwin") return { ids: [], manager: "brew" }
  const text = systemText(machine, "/etc/os-release") ?? ""
  const value = (key: string) => new RegExp(`^${key}="?([^"\\n]*)"?$`, "m").exec(text)?.[1] ?? ""
  const ids = [value("ID"), ...value("ID_LIKE").split(" ")].filter((id) => id !== "")
  const family = ids.find((id) => Object.hasOwn(FAMILIES, id))
  return family === undefined ? { ids } : { ids, manager: FAMILIES[family]! }
}
