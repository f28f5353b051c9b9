/** Which addresses the gateway may dial. Names are resolved by the gateway; this decides on what they resolved to. */
import { formatIp, type IpBytes, parseIp } from "./ip.ts"

export type AddressKind =
  | "public"
  | "private"
  | "loopback"
  | "link-local"
  | "metadata"
  | "multicast"
  | "cgnat"
  | "reserved"
  | "nat64"
  | "6to4"
  | "teredo"
  | "mapped"
  | "unspecified"
  | "documentation"
  | "benchmark"
  | "invalid"

/** What an address is. */
export interface AddressClass {
  kind: AddressKind
  /** IPv4 address that a translation address carries, dotted-quad */
  inner?: string
}

/** A range of addresses. */
export interface Cidr {
  /** First address, network byte order: 4 or 16 bytes */
  base: IpBytes
  /** Length of the prefix, in bits */
  bits: number
}

/** Reads `10.0.0.0/8`, `fd00::/8` or a single address; undefined when it is none or has bits beyond the prefix. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/")
  const base = parseIp(slash === -1 ? text : text.slice(0, slash))
  if (base === undefined) return undefined
  const digits = slash === -1 ? String(base.length * 8) : text.slice(slash + 1)
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(digits)) return undefined
  const bits = Number(digits)
  if (bits > base.length * 8) return undefined
  for (let i = bits; i < base.length * 8; i++) {
    if (((base[i >> 3] as number) >> (7 - (i & 7))) & 1) return undefined
  }
  return { base, bits }
}

function covers(range: Cidr, ip: IpBytes): boolean {
  if (range.base.length !== ip.length) return false
  const whole = range.bits >> 3
  for (let i = 0; i < whole; i++) if (range.base[i] !== ip[i]) return false
  const rest = range.bits & 7
  return (
    rest === 0 || (((range.base[whole] as number) ^ (ip[whole] as number)) & (0xff00 >> rest) & 0xff) === 0
  )
}

/**
 * First match wins. From the IANA IPv4 and IPv6 special-purpose address registries (RFC 6890 and later), with the
 * addresses at which clouds hand out machine credentials in front.
 */
const TABLE: readonly [kind: AddressKind, ranges: string][] = [
  // AWS, GCP, Azure, OpenStack; Azure's wire server; Alibaba; Oracle's older one; ECS, EKS and Scaleway.
  ["metadata", "169.254.169.254 168.63.129.16 100.100.100.200 192.0.0.192 169.254.170.2 169.254.170.23"],
  ["metadata", "169.254.42.42 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:42::42"],
  ["unspecified", "0.0.0.0/8 ::"],
  ["loopback", "127.0.0.0/8 ::1"],
  ["private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7"],
  ["cgnat", "100.64.0.0/10"],
  ["link-local", "169.254.0.0/16 fe80::/10"],
  ["documentation", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20"],
  ["benchmark", "198.18.0.0/15 2001:2::/48"],
  ["multicast", "224.0.0.0/4 ff00::/8"],
  // The relay anycast of 6to4 (RFC 7526) and addresses that carry an IPv4 address in their upper half (RFC 3056).
  ["6to4", "192.88.99.0/24 2002::/16"],
  // IPv4-mapped, IPv4-compatible (RFC 4291 section 2.5.5) and IPv4-translated (RFC 2765).
  ["mapped", "::ffff:0:0/96 ::/96 ::ffff:0:0:0/96"],
  ["nat64", "64:ff9b::/96 64:ff9b:1::/48"],
  ["teredo", "2001::/32"],
  // IETF protocol assignments, class E with broadcast; ORCHID lies in 2001::/23.
  ["reserved", "192.0.0.0/24 240.0.0.0/4 2001::/23 5f00::/16 100::/64 fec0::/10"],
  // Only 2000::/3 is global unicast (RFC 4291 section 2.4); the rest of IPv6 is nobody's.
  ["public", "0.0.0.0/0 2000::/3"],
]

const RANGES: readonly [kind: AddressKind, range: Cidr][] = TABLE.flatMap(([kind, ranges]) =>
  ranges.split(" ").map((text): [AddressKind, Cidr] => [kind, parseCidr(text) as Cidr]),
)

/** Says what an address is; text that is no address in strict form is `invalid`, IPv6 zones included. */
export function classifyAddress(ip: string): AddressClass {
  const bytes = parseIp(ip)
  return bytes === undefined ? { kind: "invalid" } : classify(bytes)
}

function classify(bytes: IpBytes): AddressClass {
  const kind = RANGES.find(([, range]) => covers(range, bytes))?.[0] ?? "reserved"
  const inner = bytes.length === 16 ? innerIpv4(kind, bytes) : undefined
  return inner === undefined ? { kind } : { kind, inner }
}

/** The IPv4 address inside a translation address. */
function innerIpv4(kind: AddressKind, bytes: IpBytes): string | undefined {
  if (kind === "mapped") return formatIp(bytes.slice(12))
  // Only the well-known prefix says where the address stands; 64:ff9b:1::/48 leaves it to the network (RFC 8215).
  if (kind === "nat64")
    return bytes.subarray(4, 12).every((b) => b === 0) ? formatIp(bytes.slice(12)) : undefined
  if (kind === "6to4") return formatIp(bytes.slice(2, 6))
  // Teredo carries the client's address with every bit flipped (RFC 4380 section 4).
  if (kind === "teredo") return formatIp(bytes.slice(12).map((byte) => byte ^ 0xff))
  return undefined
}

/** Kinds that a route's `private` may open. All others are refused for good: no honest name resolves to them. */
const OPENABLE: ReadonlySet<AddressKind> = new Set([
  "public",
  "private",
  "loopback",
  "cgnat",
  "documentation",
  "benchmark",
])

/** What narrows or widens the choice of addresses. */
export interface DialOptions {
  /** Ranges that the route opens */
  private: readonly Cidr[]
  /** Addresses of the host machine in canonical text, refused unless a range of `private` covers them */
  hostAddresses: ReadonlySet<string>
}

/**
 * Decides whether an address may be dialled. `kind` of a refusal is what the address is, or `host` for the machine's
 * own. Translation addresses (mapped, NAT64, 6to4, Teredo) are refused whatever they carry: the network, not we,
 * decides where they lead.
 */
export function mayDial(
  ip: string,
  options: DialOptions,
): { ok: true } | { ok: false; kind: AddressKind | "host" } {
  const bytes = parseIp(ip)
  if (bytes === undefined) return { ok: false, kind: "invalid" }
  const { kind } = classify(bytes)
  if (!OPENABLE.has(kind)) return { ok: false, kind }
  if (options.private.some((range) => covers(range, bytes))) return { ok: true }
  if (options.hostAddresses.size > 0 && options.hostAddresses.has(formatIp(bytes)))
    return { ok: false, kind: "host" }
  return kind === "public" ? { ok: true } : { ok: false, kind }
}
