/**
 * The canonical form of a request target, and path rules. What is checked is what is forwarded: `forward` is made
 * from the same segments as `path`, so that no upstream can resolve it to something the rules did not see.
 */

/** What to do with empty segments (`//`) in what is forwarded. */
export type EmptySegments = "collapse" | "keep"

/** A request target in canonical form. */
export interface CanonicalPath {
  /** Decoded path that rules are matched on: no dot segments, no empty segments, escapes of slashes decoded too */
  path: string
  /** Query as it was written, without `?`, possibly empty */
  query: string
  /** Target to send: canonical path in URL spelling, then `?` and the query as they were written */
  forward: string
  /** True when the path holds `%2f`: an upstream may or may not split a segment there */
  encodedSlash: boolean
  /** True when the decoded path holds an escape again (`%252e`): an upstream that decodes twice sees another path */
  nestedEscape: boolean
}

/** A target whose canonical form is itself: pchar segments that do not begin with a dot, no escapes. */
const PLAIN = /^(?:\/[\w~!$&'()*+,;=:@-][\w.~!$&'()*+,;=:@-]*)*\/?$/
/** Visible ASCII but `#` and `\`: RFC 9112 lets no other octet into a request target, and a fragment is never sent. */
const SENDABLE_PATH = /^\/[!"$-[\]-~]*$/
/** The same for queries, where a backslash separates nothing. */
const SENDABLE_QUERY = /^[!"$-~]*$/
/** A percent sign that begins no escape. */
const BROKEN_ESCAPE = /%(?![0-9a-f]{2})/i
/** Control characters that a decoded path must not hold: C0, DEL and C1. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/
/** Escapes left after one round of decoding, among them the `%u002e` of old IIS. */
const ESCAPE = /%(?:[0-9a-f]{2}|u[0-9a-f]{4})/i

/**
 * Brings an origin-form target to its canonical form, or returns undefined when it must be refused: no leading slash,
 * an octet that may not stand there, invalid percent-encoding, invalid UTF-8 (overlong forms too), control characters
 * and backslashes raw or encoded, and `..;x` segments, which Java servers take for `..`.
 *
 * `forward` keeps the spelling of what is canonical already (`/@scope%2fname` stays byte for byte). Dot segments are
 * removed (RFC 3986 section 5.2.4, `%2e` counts as a dot), escaped unreserved characters are decoded, characters that
 * may not stand raw are escaped, and `//` becomes `/` unless `empty` is `keep`: for routes without path rules, where
 * nothing is compared and where signed and nested URLs need it.
 */
export function canonicalPath(target: string, empty: EmptySegments = "collapse"): CanonicalPath | undefined {
  const mark = target.indexOf("?")
  const raw = mark === -1 ? target : target.slice(0, mark)
  const query = mark === -1 ? "" : target.slice(mark + 1)
  const rest = mark === -1 ? "" : target.slice(mark)
  if (raw === "" || !SENDABLE_QUERY.test(query)) return undefined
  if (PLAIN.test(raw)) {
    return { path: raw, query, forward: target, encodedSlash: false, nestedEscape: false }
  }
  // Checked before anything is decoded: `%%32e` would turn into the escape `%2e` otherwise.
  if (!SENDABLE_PATH.test(raw) || BROKEN_ESCAPE.test(raw)) return undefined

  const kept = resolveDots(raw.slice(1).split("/").map(spellSegment))
  if (kept === undefined) return undefined
  const spelled = empty === "keep" ? kept : collapse(kept)
  const decoded = decode(`/${spelled.join("/")}`)
  if (decoded === undefined || decoded.includes("\\") || CONTROL.test(decoded)) return undefined
  const encodedSlash = spelled.some((segment) => /%2f/i.test(segment))
  const path = flatten(decoded)
  if (path === undefined) return undefined
  return {
    path,
    query,
    forward: `/${spelled.join("/")}${rest}`,
    encodedSlash,
    nestedEscape: ESCAPE.test(decoded),
  }
}

/** One segment as it is forwarded: escaped unreserved characters decoded, characters that may not stand raw escaped. */
function spellSegment(segment: string): string {
  if (/^[\w.~!$&'()*+,;=:@-]*$/.test(segment)) return segment
  return segment
    .replace(/%(?:2d|2e|3[0-9]|4[1-9a-f]|5[0-9a]|5f|6[1-9a-f]|7[0-9a]|7e)/gi, (triplet) =>
      String.fromCharCode(Number.parseInt(triplet.slice(1), 16)),
    )
    .replace(/["<>[\]^`{|}]/g, (raw) => `%${raw.charCodeAt(0).toString(16).toUpperCase()}`)
}

/**
 * Removes `.` and `..`. A `..` at the root stays there. A last segment that goes leaves its slash. Undefined when a
 * segment would be a dot segment once its `;params` are cut, which Tomcat and its kin do before they resolve.
 */
function resolveDots(segments: string[]): string[] | undefined {
  const out: string[] = []
  for (let i = 0; i < segments.length; i++) {
    const segment = segments[i] as string
    const last = i === segments.length - 1
    if (segment === "." || segment === "..") {
      if (segment === "..") out.pop()
      if (last) out.push("")
    } else if (/^\.{1,2}(?:;|%3b)/i.test(segment)) {
      return undefined
    } else {
      out.push(segment)
    }
  }
  return out
}

/** Drops empty segments but the last one, which is the slash at the end. */
function collapse(segments: string[]): string[] {
  const out = segments.filter((segment) => segment !== "")
  if (segments.at(-1) === "") out.push("")
  return out
}

/** The decoded path with what escaped slashes brought in resolved as well. */
function flatten(decoded: string): string | undefined {
  const segments = resolveDots(decoded.slice(1).split("/"))
  return segments === undefined ? undefined : `/${collapse(segments).join("/")}`
}

/** Percent-decodes as strict UTF-8; undefined when the text is not that. */
function decode(text: string): string | undefined {
  if (!text.includes("%")) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Rounds of decoding after which a path that still holds escapes is taken for an attempt to hide something. */
const DECODE_ROUNDS = 4

/**
 * The path as a chain of decoders would see it in the end, lower-case; undefined when it does not settle. For rules
 * that must hold on every route, whatever its upstream does with `%2567`.
 */
export function deepestPath(canonical: CanonicalPath): string | undefined {
  let path = canonical.path
  for (let round = 0; ESCAPE.test(path); round++) {
    const next = round === DECODE_ROUNDS ? undefined : flatten(decodeAscii(path))
    if (next === undefined) return undefined
    path = next
  }
  return path.toLowerCase()
}

/** Decodes every escape that is one, byte by byte and without judging UTF-8: lenient on purpose, for looking only. */
export function decodeAscii(text: string): string {
  if (!text.includes("%")) return text
  return text.replace(/%(?:u00)?([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

/** A path rule, ready for comparison. */
export interface PathRule {
  /** Decoded path of the rule */
  path: string
  /** True for `=/path`: no other path matches */
  exact: boolean
}

/**
 * The canonical text of a path rule: URL spelling, `=` in front when exact. Undefined when it is none, or when it
 * holds a query or an escape that paths on routes with rules may not hold.
 */
export function canonicalPathRule(text: string): string | undefined {
  const exact = text.startsWith("=")
  const written = exact ? text.slice(1) : text
  if (/[?#\u0000-\u001f\u007f]/.test(written)) return undefined
  let target: string
  try {
    target = written.replace(/[^\u0021-\u007e]+/g, encodeURIComponent)
  } catch {
    return undefined
  }
  const canonical = canonicalPath(target)
  if (canonical === undefined || canonical.encodedSlash || canonical.nestedEscape) return undefined
  return `${exact ? "=" : ""}${canonical.forward}`
}

/** Reads a path rule; undefined when `canonicalPathRule` refuses it. */
export function compilePathRule(text: string): PathRule | undefined {
  const rule = canonicalPathRule(text)
  if (rule === undefined) return undefined
  const exact = rule.startsWith("=")
  const canonical = canonicalPath(exact ? rule.slice(1) : rule)
  return canonical === undefined ? undefined : { path: canonical.path, exact }
}

/**
 * Whether any rule covers a canonical path. `/v1/` covers what begins with it; `/v1` covers itself and `/v1/...`, but
 * not `/v10`; `=/v1` covers itself alone. Upper and lower case differ.
 */
export function matchesPath(rules: readonly PathRule[], path: string): boolean {
  for (const rule of rules) {
    if (rule.exact ? path === rule.path : isBelow(rule.path, path)) return true
  }
  return false
}

function isBelow(prefix: string, path: string): boolean {
  if (!path.startsWith(prefix)) return false
  return path.length === prefix.length || prefix.endsWith("/") || path.charCodeAt(prefix.length) === 0x2f
}
