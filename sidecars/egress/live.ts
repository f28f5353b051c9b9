/** What is in force now: rules, credentials and trust of one policy generation. Made as a whole or not at all. */
import { X509Certificate } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls"
import { showable } from "../../src/policy/denial.ts"
import { canonicalHost, isIpLiteral } from "../../src/policy/host.ts"
import { compileRoutes, type RouteTable } from "../../src/policy/route.ts"
import type { Policy } from "../../src/policy/schema.ts"
import type { EgressLoad } from "../../src/policy/wire/daemon.ts"
import { Authority } from "./leaf.ts"

/** Parts that stay for the life of the process: a policy never changes them. */
export interface Keys {
  authority: Authority
  /** Credential values by id */
  tokens: ReadonlyMap<string, string>
  trust: Trust
}

export interface Live {
  policy: Policy
  table: RouteTable
  /** Canonical addresses of the host machine */
  hostAddresses: ReadonlySet<string>
}

/** Takes what `load` brings. Throws when a part is unusable. */
export function takeKeys(load: EgressLoad): Keys {
  return {
    authority: new Authority(load.ca.cert, load.ca.key),
    tokens: new Map(Object.entries(load.tokens)),
    trust: new Trust(load.extra_ca),
  }
}

/** Compiles a policy. Throws an Error that names the entry. */
export function compileLive(policy: Policy): Live {
  const hostAddresses = new Set<string>()
  for (const address of policy.host_addresses) {
    const canonical = canonicalHost(address)
    if (canonical === undefined || !isIpLiteral(canonical)) {
      throw new Error(`host address "${showable(address, 64)}": not an IP address`)
    }
    hostAddresses.add(canonical)
  }
  for (const { host, auth } of policy.routes) {
    const name = auth?.scheme.startsWith("header:") ? auth.scheme.slice("header:".length) : undefined
    if (name !== undefined && OWN_FIELDS.test(name)) {
      throw new Error(`route "${showable(host)}": a credential cannot be the header ${name}`)
    }
  }
  return { policy, table: compileRoutes(policy), hostAddresses }
}

/** Fields that say where a message goes and how long it is: a credential there would change what the upstream reads. */
const OWN_FIELDS =
  /^(host|connection|content-length|transfer-encoding|trailer|te|upgrade|expect|keep-alive|accept-encoding|proxy-.*|sec-websocket-.*)$/i

/** System bundles of Debian, Fedora and Alpine, in that order: the first that is there counts. */
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/cert.pem",
]

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** The roots that upstreams are verified against: Mozilla's in the runtime, the system's, and the corporate ones. */
export class Trust {
  readonly #extra: string[]
  #context: SecureContext | undefined

  /** Takes PEM, possibly empty. Throws when it holds something that is not a certificate. */
  constructor(extra: string) {
    this.#extra = extra.match(PEM_BLOCK) ?? []
    if (this.#extra.length === 0 && extra.trim() !== "") throw new Error("extra_ca holds no PEM certificate")
    for (const pem of this.#extra) new X509Certificate(pem)
  }

  /** Reads the roots before they are needed. */
  prepare(): void {
    void this.context
  }

  /** Made on first use: reading some 300 certificates would delay the start. */
  get context(): SecureContext {
    this.#context ??= createSecureContext({
      ca: [...rootCertificates, ...systemRoots(), ...this.#extra],
      minVersion: "TLSv1.2",
    })
    return this.#context
  }
}

function systemRoots(): string[] {
  const path = SYSTEM_BUNDLES.find((candidate) => existsSync(candidate))
  return path === undefined ? [] : (readFileSync(path, "latin1").match(PEM_BLOCK) ?? [])
}
