/** Which paths of the host a sandbox sees at the same place, as part of the system. */
import { readlinkSync, realpathSync } from "node:fs"
import { dirname, isAbsolute, resolve } from "node:path"

/** Folders of the sandbox in which programs are looked for, on every distribution, first to last */
export const SYSTEM_PATH = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"]

/** Folders beside /usr that hold programs or libraries, or are links into /usr since the two were merged */
export const BESIDE_USR = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]

/** Where the programs of NixOS are, readable by everyone by design */
export const NIX_STORE = "/nix/store"

/** Links that the system's administrator chose among programs of /usr */
const ALTERNATIVES = "/etc/alternatives"

/** Links followed before it counts as a circle, as path_resolution(7) has it. */
const LINKS_MAX = 40

/** Whether a path of the host is part of the system. */
export function isSystemPath(path: string): boolean {
  const [, first] = path.split("/", 2)
  return first === "usr" || BESIDE_USR.includes(first!) || isBelow(path, NIX_STORE)
}

/** Whether a path leads to its file without leaving what the sandbox sees too. */
export function staysInSystem(path: string): boolean {
  let at = path
  for (let hops = 0; hops < LINKS_MAX; hops++) {
    if (!isSystemPath(at) && !isBelow(at, ALTERNATIVES)) return false
    let target: string
    try {
      target = readlinkSync(at)
    } catch {
      return true
    }
    at = isAbsolute(target) ? resolve(target) : resolve(realpathSync(dirname(at)), target)
  }
  return false
}

/** Whether an absolute path lies in a folder, at any depth. */
export function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder === "/" ? "/" : `${folder}/`)
}
