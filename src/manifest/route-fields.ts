/** Rules for the values of one entry of `egress.routes`. */
import { parseCidr } from "../policy/address.ts"
import { canonicalHost, canonicalHostRule } from "../policy/host.ts"
import { canonicalPathRule, compilePathRule } from "../policy/path.ts"
import { KNOWN_METHODS } from "../policy/schema.ts"
import { says, type Verdict } from "./saying.ts"
import { didYouMean } from "./suggest.ts"

/** A host as rules are matched with, or what is wrong with it. */
export function hostVerdict(host: string): Verdict {
  if (host === "") return says("the host is empty", "Write a name, as in: host: api.example.com")
  if (host === "*" || host === "*.") {
    return says("a bottle that may reach every host is no bottle", "Name the hosts one by one")
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(host)) return urlVerdict(host)
  if (host.includes("/")) {
    const name = host.slice(0, host.indexOf("/"))
    return says("a host has no path", hostFix(name, host.slice(name.length)))
  }
  if (/^[^:[\]]*:\d*$/.test(host) || /^\[.*\]:\d*$/.test(host)) {
    return says("a host has no port: 443 is the one that is open", hostFix(host.replace(/:\d*$/, "")))
  }
  if (host.startsWith("[") && canonicalHost(host) !== undefined) {
    return says("an IPv6 address stands here without brackets", hostFix(host))
  }
  if (host.includes("*") && (!host.startsWith("*.") || host.indexOf("*", 1) > 0)) {
    return says("a star stands for whole labels at the front", 'Write it as: host: "*.example.com"')
  }
  const rule = canonicalHostRule(host)
  if (rule === undefined) return says(`not a host name or IP address: ${JSON.stringify(host)}`)
  if (rule.startsWith("*.") && !rule.slice(2).includes(".")) {
    return says(
      `${rule} would open every name under .${rule.slice(2)}`,
      "Name at least two labels after the star",
    )
  }
  // A name in capitals or letters beyond ASCII has one meaning; an address in octal or hexadecimal misleads readers.
  if (/^[\d.:a-fA-FxX]+$/.test(host) && rule !== host.toLowerCase()) {
    return says(`another spelling of the address ${rule}`, `Write: host: ${quoted(rule)}`)
  }
  return undefined
}

/** The host in the form that rules are compared in. For a host that `hostVerdict` passed. */
export function hostForm(host: string): string {
  return canonicalHostRule(host) ?? host
}

function urlVerdict(text: string): Verdict {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) return says("a URL stands where a host name is needed")
  const scheme = url.protocol === "http:" ? "\nscheme: http" : ""
  return says("a URL stands where a host name is needed", `${hostFix(url.hostname, url.pathname)}${scheme}`)
}

function hostFix(host: string, path = ""): string {
  const form = canonicalHostRule(host)
  if (form === undefined) return ""
  const paths = path === "" || path === "/" ? "" : `\npaths: [${quoted(path)}]`
  return `Write:\nhost: ${quoted(form)}${paths}`
}

/** A text as YAML, quoted where plain text would mean something else. */
function quoted(text: string): string {
  return /^[A-Za-z0-9/][A-Za-z0-9./_-]*$/.test(text) ? text : JSON.stringify(text)
}

/** A rule for paths: a prefix, or exact with `=` in front, in the form that requests are compared in. */
export function pathVerdict(rule: string): Verdict {
  const exact = rule.startsWith("=")
  const path = exact ? rule.slice(1) : rule
  const write = (form: string) => `Write: ${quoted(`${exact ? "=" : ""}${form}`)}`
  if (!path.startsWith("/")) {
    if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) return says("a URL stands where a path is needed")
    return says(`a path begins with "/", or with "=/" for exactly that one`, write(`/${path}`))
  }
  const end = path.search(/[?#]/)
  if (end >= 0) return says("a rule covers the path alone, not the query", write(path.slice(0, end)))
  if (path.includes("*")) {
    return says(
      "a star means nothing here: a path covers all below it",
      path.endsWith("/*") ? write(path.slice(0, -1)) : "",
    )
  }
  const form = canonicalPathRule(rule)
  if (form === undefined) return says("no request can have this path")
  // Both spellings of a letter beyond ASCII are fine; dot segments and empty ones mislead readers.
  if (form === rule || compilePathRule(rule)?.path === path) return undefined
  return says("requests are compared in a simpler form of this path", write(form.slice(exact ? 1 : 0)))
}

/** A method that a route may allow. */
export function methodVerdict(method: string): Verdict {
  const upper = method.toUpperCase()
  if (upper === "CONNECT" || upper === "TRACE") {
    return says(`${upper} is never let through: it reaches around the checks`, "Remove it")
  }
  if (!(KNOWN_METHODS as readonly string[]).includes(upper)) {
    return says(
      `${JSON.stringify(method)} is not a known method${didYouMean(method, KNOWN_METHODS)}`,
      `Known: ${KNOWN_METHODS.join(", ")}`,
    )
  }
  return method === upper ? undefined : says("methods are written in capitals", `Write: ${upper}`)
}

/** A range of private addresses. */
export function cidrVerdict(range: string): Verdict {
  if (parseCidr(range) !== undefined) return undefined
  return says(`${JSON.stringify(range)} is not a range of addresses`, 'Write it as: private: ["10.0.0.0/8"]')
}

/** Headers that decide how a message travels; a credential in one of them would break or redirect the request. */
const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  // Hop by hop (RFC 9110 section 7.6.1 and what clients still send of RFC 2616 section 13.5.1)
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  // Where the request goes and where its body ends
  "host",
  "content-length",
  "content-encoding",
  "content-type",
  "expect",
  // Ours: it tells a refusal
  "x-bottle-block",
])

const SCHEMES = ["bearer", "basic", "token", "header:<Name>"]

/** How a credential is put on a request. */
export function schemeVerdict(scheme: string): Verdict {
  if (["bearer", "basic", "token"].includes(scheme)) return undefined
  const folded = scheme.toLowerCase()
  if (["bearer", "basic", "token"].includes(folded)) {
    return says("schemes are written in small letters", `Write: scheme: ${folded}`)
  }
  const header = /^header:(.*)$/is.exec(scheme)?.[1]?.trim()
  if (header === undefined) {
    const guess = /^[a-z]+(-[a-z]+)+$/i.test(scheme) ? `Write: scheme: header:${scheme}` : ""
    const fix = guess === "" ? `Allowed: ${SCHEMES.join(", ")}` : guess
    return says(
      `${JSON.stringify(scheme)} is not a way to send a credential${didYouMean(scheme, SCHEMES)}`,
      fix,
    )
  }
  if (!/^[A-Za-z0-9-]{1,64}$/.test(header)) {
    return says(
      `${JSON.stringify(header)} is not the name of a header`,
      "Write it as: scheme: header:X-Api-Key",
    )
  }
  if (RESERVED_HEADERS.has(header.toLowerCase())) {
    return says(
      `${header} steers the request itself and cannot carry a credential`,
      "Name the service's own header",
    )
  }
  if (header.toLowerCase() === "authorization") {
    return says("Authorization has schemes of its own", "Write: scheme: bearer (or basic, or token)")
  }
  return scheme === `header:${header}`
    ? undefined
    : says("too many spaces", `Write: scheme: header:${header}`)
}
