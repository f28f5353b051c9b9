/** The canonical form of a host: what CONNECT targets, SNI, `Host` headers and rules are brought to and compared in. */
import { domainToASCII } from "node:url"
import { formatIp, parseIp, parseIpv6, parseLooseIpv4 } from "./ip.ts"

/** Longest name in its text form without the final dot, in characters (RFC 1035 section 2.3.4) */
const NAME_MAX = 253
/** Longest label, in characters (RFC 1035 section 2.3.4) */
const LABEL_MAX = 63
/**
 * White space, control characters and ASCII that no name holds. `domainToASCII` is a URL parser's: it drops line ends,
 * decodes percent escapes and cuts at `/`, so what it would mend is refused before it sees it.
 */
const NO_NAME = /[\u0000-,/:-@[-^`{-\u00a0\s]/
/** Longest text looked at: a Unicode spelling may be longer than its name, but not without end */
const TEXT_MAX = 1024

/**
 * Brings a host to its canonical form, or returns undefined when it is none: lower-case ASCII (IDNA through the
 * URL Standard's mapping), one final dot removed, IPv4 in any spelling the C library dials as dotted-quad, IPv6
 * (with or without brackets) as RFC 5952 prints it, without brackets. Refused: empty and overlong labels, userinfo,
 * percent-encoding (also IPv6 zones), white space, control characters, anything that is not a name.
 */
export function canonicalHost(text: string): string | undefined {
  if (text.length === 0 || text.length > TEXT_MAX) return undefined
  if (text.includes(":")) return canonicalIpv6(text)
  let shape = nameShape(text)
  if (shape === "plain") return text
  let name = text
  if (shape === "unicode") {
    if (NO_NAME.test(text)) return undefined
    name = domainToASCII(text)
    shape = nameShape(name)
  }
  if (shape === "plain") return name
  if (shape !== "mapped") return undefined
  name = name.toLowerCase()
  if (name.endsWith(".")) name = name.slice(0, -1)
  if (name.includes("xn--")) {
    // Punycode that decodes to nothing, or to what has another spelling, is refused or brought to that spelling.
    name = domainToASCII(name)
  }
  if (endsInNumber(name)) {
    const quad = parseLooseIpv4(name)
    return quad === undefined ? undefined : formatIp(quad)
  }
  return nameShape(name) === "refused" || name.endsWith(".") || !labelsFit(name) ? undefined : name
}

/** IPv6 in brackets or bare. */
function canonicalIpv6(text: string): string | undefined {
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text
  const bytes = parseIpv6(bare)
  return bytes === undefined ? undefined : formatIp(bytes)
}

/**
 * One pass over the characters: `plain` is canonical as it stands, `mapped` is ASCII that may need work, `unicode`
 * has other characters, `refused` cannot be a name.
 */
function nameShape(text: string): "plain" | "mapped" | "unicode" | "refused" {
  let shape: "plain" | "mapped" = "plain"
  let label = 0
  let labelStart = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if ((c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c === 0x2d || c === 0x5f) {
      label++
    } else if (c === 0x2e) {
      if (label === 0) return "refused"
      if (label > LABEL_MAX) shape = "mapped"
      label = 0
      labelStart = i + 1
    } else if (c >= 0x41 && c <= 0x5a) {
      label++
      shape = "mapped"
    } else if (c >= 0x80) {
      return "unicode"
    } else {
      return "refused"
    }
  }
  if (label === 0 || label > LABEL_MAX || text.length > NAME_MAX)
    return text.length === 0 ? "refused" : "mapped"
  const first = text.charCodeAt(labelStart)
  // A last label that begins with a digit may be an IPv4 number; `xn--` has to be checked by the IDNA tables.
  return (first >= 0x30 && first <= 0x39) || text.includes("xn--") ? "mapped" : shape
}

function labelsFit(name: string): boolean {
  if (name.length === 0 || name.length > NAME_MAX) return false
  return name.split(".").every((label) => label.length > 0 && label.length <= LABEL_MAX)
}

/** Whether the last label is a number, so that the C library takes the whole for an IPv4 address. */
function endsInNumber(name: string): boolean {
  const last = name.slice(name.lastIndexOf(".") + 1)
  return /^(?:[0-9]+|0x[0-9a-f]*)$/.test(last)
}

/** A host in canonical form with its port, when one is written. */
export interface Authority {
  /** Canonical host, IPv6 without brackets */
  host: string
  /** TCP port, 1 to 65535 */
  port?: number
}

/**
 * Splits `host`, `host:port`, `[v6]` or `[v6]:port` (a CONNECT target or a `Host` header). An empty port and leading
 * zeros are refused: RFC 3986 allows them, readers differ in what they make of them.
 */
export function splitAuthority(text: string): Authority | undefined {
  const bracket = text.startsWith("[") ? text.indexOf("]") : -1
  if (text.startsWith("[") && bracket === -1) return undefined
  const colon = text.indexOf(":", bracket + 1)
  if (colon === -1) {
    if (bracket !== -1 && bracket !== text.length - 1) return undefined
    const host = canonicalHost(text)
    return host === undefined ? undefined : { host }
  }
  if (bracket !== -1 && colon !== bracket + 1) return undefined
  const host = canonicalHost(text.slice(0, colon))
  const digits = text.slice(colon + 1)
  if (host === undefined || !/^[1-9][0-9]{0,4}$/.test(digits)) return undefined
  const port = Number(digits)
  return port > 65535 ? undefined : { host, port }
}

/** The host as it stands in a URL or a `Host` header: IPv6 in brackets. */
export function hostInUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host
}

/** Whether a canonical host is an IP literal. */
export function isIpLiteral(host: string): boolean {
  return parseIp(host) !== undefined
}

/** The canonical form of a rule's host: a host, or `*.` before a name; undefined when it is neither. */
export function canonicalHostRule(text: string): string | undefined {
  if (!text.startsWith("*.")) return canonicalHost(text)
  const suffix = canonicalHost(text.slice(2))
  return suffix === undefined || isIpLiteral(suffix) ? undefined : `*.${suffix}`
}

/**
 * Whether a rule covers a host, both canonical: the same host, or for `*.example.com` any name with one or more
 * labels below it. The apex and IP literals are never covered by a wildcard.
 */
export function matchesHost(rule: string, host: string): boolean {
  if (!rule.startsWith("*.")) return rule === host
  return host.length > rule.length - 1 && host.endsWith(rule.slice(1)) && !isIpLiteral(host)
}
