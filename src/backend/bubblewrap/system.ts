/**
 * What every bubblewrap sandbox sees of the host's system: programs and libraries read-only, a list of `/etc`, and the
 * files of `/etc` that are written anew.
 *
 * Set-id programs below `/usr` are there and gain nothing: bwrap sets no_new_privs before it runs anything, and all of
 * its binds are nosuid.
 */
import { lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { AGENT_GID, AGENT_HOME, AGENT_UID, AGENT_USER, CA_BUNDLE, CA_JAVA } from "../../policy/paths.ts"
import { ETC_NAMES } from "./etc.ts"
import type { Mount } from "./mount.ts"
import { BESIDE_USR, NIX_STORE } from "./system-path.ts"

export type { Mount } from "./mount.ts"
export { SYSTEM_PATH } from "./system-path.ts"

/** Configuration below /usr is to programs built there what /etc is to the others: `npm login` writes tokens there. */
const CONFIGURATION_BELOW_USR = ["/usr/etc", "/usr/local/etc"]

/** What leads to the programs of a NixOS system, which are in the store. */
const NIX_SYSTEM = "/run/current-system/sw"

/** Where programs look for the certificates that they trust, by distribution. */
const TRUST_BUNDLES = [
  // Debian, Ubuntu, Alpine, Arch; Go and most others look here first.
  "/etc/ssl/certs/ca-certificates.crt",
  // Alpine, Arch, and OpenSSL where it was built with /etc/ssl.
  "/etc/ssl/cert.pem",
  // openSUSE.
  "/etc/ssl/ca-bundle.pem",
  // Fedora and its kin: the old name, the name that libraries are built with, and the one both lead to.
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/pki/tls/cert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  // Arch: where its links in /etc/ssl lead to.
  "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
]
const JAVA_TRUST_STORES = [
  "/etc/ssl/certs/java/cacerts",
  "/etc/pki/java/cacerts",
  "/etc/pki/ca-trust/extracted/java/cacerts",
  "/etc/ssl/certs/java-cacerts.jks",
]

/**
 * The mounts of the system, parents before children. `hostname` is the sandbox's own name. `root` is the folder that
 * is looked at as the host's `/`.
 */
export function systemMounts(hostname: string, root = "/"): Mount[] {
  return [
    ...systemPrograms(root),
    ...etcMounts(root, ETC_NAMES),
    ...trustMounts(),
    ...writtenAnew(hostname, root),
  ]
}

/** Programs and libraries. */
export function systemPrograms(root = "/"): Mount[] {
  const mounts: Mount[] = [{ kind: "ro-bind", from: join(root, "usr"), to: "/usr" }]
  for (const to of CONFIGURATION_BELOW_USR) {
    // A link is left alone: what it leads to is seen only when it is seen anyway.
    if (lstatSync(join(root, to), { throwIfNoEntry: false })?.isDirectory())
      mounts.push({ kind: "empty", to })
  }
  for (const name of BESIDE_USR) {
    const from = join(root, name)
    const about = lstatSync(from, { throwIfNoEntry: false })
    if (about?.isSymbolicLink()) mounts.push({ kind: "symlink", target: readlinkSync(from), to: `/${name}` })
    else if (about?.isDirectory()) mounts.push({ kind: "ro-bind", from, to: `/${name}` })
  }
  if (isFolder(join(root, NIX_STORE))) {
    mounts.push({ kind: "ro-bind", from: join(root, NIX_STORE), to: NIX_STORE })
    const system = insideOf(root, join(root, NIX_SYSTEM))
    if (system?.startsWith(`${NIX_STORE}/`)) mounts.push({ kind: "symlink", target: system, to: NIX_SYSTEM })
  }
  return mounts
}

/** What the host has of these names below /etc, and everybody may read. */
export function etcMounts(root: string, names: readonly string[]): Mount[] {
  const present = namesOfEtc(root)
  return names
    .flatMap((name) => namesLike(present, name))
    .flatMap((name) => {
      const mount = etcMount(root, name)
      return mount === undefined ? [] : [mount]
    })
}

function namesOfEtc(root: string): ReadonlySet<string> {
  try {
    return new Set(readdirSync(join(root, "etc")).sort())
  } catch {
    return new Set()
  }
}

/** The names that a pattern stands for. Most machines have half of the list: what is not there is not asked for. */
function namesLike(present: ReadonlySet<string>, name: string): string[] {
  if (!name.includes("*")) return present.has(name.split("/")[0] ?? "") ? [name] : []
  const [start, end] = name.split("*") as [string, string]
  const long = start.length + end.length
  return [...present].filter((one) => one.length >= long && one.startsWith(start) && one.endsWith(end))
}

/** undefined when it is not there, leads elsewhere, or is not for everyone to read. */
function etcMount(root: string, name: string): Mount | undefined {
  const path = join(root, "etc", name)
  const to = `/etc/${name}`
  const real = insideOf(root, path)
  if (real === undefined) return undefined
  const about = statSync(join(root, real))
  // A program with the user's rights, or root's, reads more than what everyone may read.
  const needed = about.isDirectory() ? 0o005 : 0o004
  if ((!about.isDirectory() && !about.isFile()) || (about.mode & needed) !== needed) return undefined
  if (real.startsWith("/usr/") || real.startsWith(`${NIX_STORE}/`)) {
    return { kind: "symlink", target: nextInside(root, path) ?? real, to }
  }
  if (real.startsWith("/etc/")) return { kind: "ro-bind", from: join(root, real), to }
  return undefined
}

/** Where a link leads in one step, when the sandbox has that too: the name of a time zone is read off this text. */
function nextInside(root: string, path: string): string | undefined {
  if (!lstatSync(path).isSymbolicLink()) return undefined
  const next = stripRoot(root, resolve(dirname(path), readlinkSync(path)))
  return next?.startsWith("/usr/") ? next : undefined
}

/** The path without symbolic links as seen from `root`; undefined when there is none, or not within `root`. */
function insideOf(root: string, path: string): string | undefined {
  try {
    return stripRoot(realpathSync(root), realpathSync(path))
  } catch {
    return undefined
  }
}

function stripRoot(root: string, path: string): string | undefined {
  if (root === "/") return path
  return path.startsWith(`${root}/`) ? path.slice(root.length) : undefined
}

function trustMounts(): Mount[] {
  const link = (target: string) => (to: string) => ({ kind: "symlink", target, to }) as const
  return [...TRUST_BUNDLES.map(link(CA_BUNDLE)), ...JAVA_TRUST_STORES.map(link(CA_JAVA))]
}

function writtenAnew(hostname: string, root: string): Mount[] {
  const shell = ["/bin/bash", "/usr/bin/bash"].find((path) => isFile(join(root, path))) ?? "/bin/sh"
  const file = (to: string, ...lines: string[]): Mount => ({
    kind: "file",
    to,
    content: `${lines.join("\n")}\n`,
    mode: 0o644,
  })
  return [
    file(
      "/etc/passwd",
      "root:x:0:0:root:/root:/bin/sh",
      `${AGENT_USER}:x:${AGENT_UID}:${AGENT_GID}::${AGENT_HOME}:${shell}`,
      // What belongs to nobody of the sandbox, such as all of /usr, shows as the kernel's overflow id.
      "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    ),
    file("/etc/group", "root:x:0:", `${AGENT_USER}:x:${AGENT_GID}:`, "nogroup:x:65534:"),
    // Without `dns` and kin a lookup ends at once; with the host's file it would ask for its modules and sockets.
    file(
      "/etc/nsswitch.conf",
      ...["passwd", "group", "shadow", "hosts", "networks", "services", "protocols", "rpc", "ethers"].map(
        (name) => `${name}: files`,
      ),
    ),
    file("/etc/hosts", `127.0.0.1 localhost ${hostname}`, "::1 localhost ip6-localhost ip6-loopback"),
    file(
      "/etc/resolv.conf",
      "# There is no DNS here: the gateway resolves the names of hosts that are allowed.",
    ),
    file("/etc/hostname", hostname),
    { kind: "symlink", target: "/proc/self/mounts", to: "/etc/mtab" },
  ]
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
