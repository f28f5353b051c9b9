/** How a missing program is installed on this machine: the one command, ready to copy. */
import { type Machine, systemText } from "../runtime/machine.ts"

type Manager = "apt" | "dnf" | "pacman" | "apk" | "zypper" | "brew"

/** A package's name; where managers differ, each has its own, and one that is missing has no such package. */
export type PackageName = string | Partial<Record<Manager, string>>

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

/** The command that installs a package; empty where this machine's way of doing so is not known. */
export function installCommand(machine: Machine, name: PackageName): string {
  const manager = managerOf(machine)
  if (manager === undefined) return ""
  const wanted = typeof name === "string" ? name : name[manager]
  return wanted === undefined
    ? ""
    : manager === "brew"
      ? `${INSTALL.brew} ${wanted}`
      : asRoot(machine, `${INSTALL[manager]} ${wanted}`)
}

/** A command for root, as this user writes it. */
export function asRoot(machine: Machine, command: string): string {
  return machine.uid === 0 ? command : `sudo ${command}`
}

function managerOf(machine: Machine): Manager | undefined {
  if (machine.platform === "darwin") return "brew"
  const text = systemText(machine, "/etc/os-release") ?? ""
  const value = (key: string) => new RegExp(`^${key}="?([^"\\n]*)"?$`, "m").exec(text)?.[1] ?? ""
  return [value("ID"), ...value("ID_LIKE").split(" ")]
    .map((id) => (Object.hasOwn(FAMILIES, id) ? FAMILIES[id] : undefined))
    .find((manager) => manager !== undefined)
}
