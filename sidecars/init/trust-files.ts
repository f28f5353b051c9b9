/** The files by which the sandbox trusts the bottle's own authority, in every form its clients read. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { CA_BUNDLE, CA_CERT, CA_JAVA } from "../../src/policy/paths.ts"
import { javaTrustStore } from "./java-trust-store.ts"

/** Roots of the image's distribution: the gateway image keeps them here, a bare machine in its usual place. */
const SYSTEM_ROOTS = ["/opt/bottle/system-roots.pem", "/etc/ssl/certs/ca-certificates.crt"]

/** Writes certificate, bundle and Java trust store into `dir`, readable by everyone in the sandbox. */
export function writeTrustFiles(dir: string, caCert: string, extraCa: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o755 })
  const roots = SYSTEM_ROOTS.find((path) => existsSync(path))
  const system = roots === undefined ? "" : readFileSync(roots, "utf8")
  const bundle = [system, extraCa, caCert].map((pem) => pem.trim()).filter((pem) => pem !== "")
  write(join(dir, basename(CA_CERT)), caCert)
  write(join(dir, basename(CA_BUNDLE)), `${bundle.join("\n")}\n`)
  write(join(dir, basename(CA_JAVA)), javaTrustStore(caCert))
}

/** By rename, so that a client never reads half a file. */
function write(path: string, content: string | Uint8Array): void {
  const temporary = join(dirname(path), `.${basename(path)}.new`)
  writeFileSync(temporary, content, { mode: 0o644 })
  renameSync(temporary, path)
}
