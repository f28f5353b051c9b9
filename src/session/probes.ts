/** The wall probes of every start: the attempts that must fail, the one that must succeed, and what must have arrived. */

import { statSync } from "node:fs"
import { join } from "node:path"
import type { Probe } from "../policy/wire/lifeline.ts"
import type { ProvisionTree } from "../provider/types.ts"

/**
 * Addresses outside that no packet is ever sent to by an intact wall. They are from the ranges for documentation
 * (RFC 5737, RFC 3849), so that a broken one bothers nobody either.
 */
const OUTSIDE_V4 = "192.0.2.1"
const OUTSIDE_V6 = "2001:db8::1"
/** Where clouds serve credentials to whoever asks. */
const METADATA = "169.254.169.254"
/** Addresses of the host that are tried; the first few say as much as all. */
const HOST_TRIED = 4

export function wallProbes(generation: number, hostAddresses: string[], trees: ProvisionTree[]): Probe[] {
  return [
    { kind: "no-interfaces" },
    { kind: "confined" },
    { kind: "tcp-refused", host: OUTSIDE_V4, port: 443 },
    { kind: "tcp-refused", host: OUTSIDE_V6, port: 443 },
    { kind: "tcp-refused", host: METADATA, port: 80 },
    { kind: "udp-refused", host: OUTSIDE_V4, port: 53 },
    // A link-local address means nothing without the name of an interface.
    ...hostAddresses
      .filter((host) => !host.startsWith("fe80:"))
      .slice(0, HOST_TRIED)
      .map((host): Probe => ({ kind: "tcp-refused", host, port: 22 })),
    { kind: "gateway", generation },
    ...trees.map(arrived),
  ]
}

/** A skill that was copied has its description where it belongs; copies can vanish below a mount (Docker's tmpfs). */
function arrived({ from, to }: ProvisionTree): Probe {
  return { kind: "file", path: join(to, "SKILL.md"), size: statSync(join(from, "SKILL.md")).size }
}
