/** What a daemon of the gateway sees of the host: programs, and what is needed to resolve names and verify servers. */
import { readFileSync, realpathSync } from "node:fs"
import type { Mount } from "./mount.ts"
import { etcMounts, systemPrograms } from "./system.ts"

/** The loader's cache; the rest of /etc is about things that a daemon does not do. */
const ETC = ["ld.so.cache"]
/** Roots that upstreams are verified with, by distribution. */
const ROOTS = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/ssl/cert.pem",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
]

/** `extraHosts` are names that the gateway resolves by itself, `host` -> address. */
export function daemonSystem(extraHosts: Readonly<Record<string, string>>): Mount[] {
  const names = Object.entries(extraHosts).map(([host, address]) => `${address} ${host}`)
  return [
    ...systemPrograms(),
    ...etcMounts("/", ETC),
    ...ROOTS.flatMap(root),
    // A resolver that listens on a socket below /run is not there, so names go to files and servers alone.
    file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    file(
      "/etc/passwd",
      "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1000:1000::/nonexistent:/usr/sbin/nologin\n",
    ),
    // Ours first: the first line that names a host counts.
    file("/etc/hosts", `${[...names, ""].join("\n")}${text("/etc/hosts")}`),
    file("/etc/resolv.conf", text("/etc/resolv.conf")),
  ]
}

/** As the file that it leads to, because the links between are not there. */
function root(path: string): Mount[] {
  try {
    return [{ kind: "ro-bind", from: realpathSync(path), to: path }]
  } catch {
    return []
  }
}

function file(to: string, content: string): Mount {
  return { kind: "file", to, content, mode: 0o644 }
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}
