/**
 * Heads of HTTP/1.1 messages, from bytes to fields. Our own, because a proxy must not forward what it reads otherwise
 * than the next hop (RFC 9112 11.2): no bare LF, no folding, no space before the colon, no control characters.
 */
import { FIELDS_MAX, HEAD_MAX_BYTES, TARGET_MAX_BYTES } from "../limits.ts"
import { HttpFault } from "./fault.ts"

export interface Field {
  /** Name as it was written */
  name: string
  /** Lower-case name */
  key: string
  /** Value without surrounding blanks, one character per byte */
  value: string
}

export interface RequestHead {
  method: string
  /** Request target as it was written */
  target: string
  /** HTTP/1.x minor version */
  minor: 0 | 1
  fields: Field[]
}

export interface ResponseHead {
  /** Status code, 100 to 599 */
  status: number
  /** Reason phrase, possibly empty, one character per byte */
  reason: string
  minor: 0 | 1
  fields: Field[]
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** Visible ASCII, obs-text, space and tab: RFC 9110 5.5 without the control characters it forbids */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const TARGET = /^[\x21-\x7e]+$/

/**
 * Length of the head at the start of `bytes`, with its empty line, or -1 when more is needed. `from` is where an
 * earlier look ended. Throws HttpFault as soon as a line ends in a bare LF or the first line cannot be HTTP/1, so
 * that HTTP/0.9 and raw bytes do not wait for a time limit.
 */
export function headLength(bytes: Buffer, from = 0): number {
  const end = bytes.indexOf("\r\n\r\n", Math.max(0, from - 3), "latin1")
  if (end >= 0) {
    if (end + 4 > HEAD_MAX_BYTES) throw new HttpFault(`has a head of more than ${HEAD_MAX_BYTES} bytes`)
    return end + 4
  }
  if (bytes.length > HEAD_MAX_BYTES) throw new HttpFault(`has a head of more than ${HEAD_MAX_BYTES} bytes`)
  const line = bytes.indexOf(10)
  if (line >= 0) {
    if (line === 0 || bytes[line - 1] !== 13) throw new HttpFault("has a line that ends in a bare LF")
    if (bytes.subarray(0, line - 1).indexOf("HTTP/", 0, "latin1") < 0) {
      throw new HttpFault("has a first line without an HTTP version")
    }
    const double = bytes.indexOf("\n\n", line, "latin1")
    if (double >= 0) throw new HttpFault("has a line that ends in a bare LF")
  }
  return -1
}

/** Reads a request head; `bytes` ends with its empty line. Throws HttpFault. */
export function parseRequestHead(bytes: Buffer): RequestHead {
  const lines = splitLines(bytes)
  const first = lines[0]!
  const one = first.indexOf(" ")
  const two = first.indexOf(" ", one + 1)
  if (one <= 0 || two < 0) throw new HttpFault("has a first line that is not `method target version`")
  const method = first.slice(0, one)
  const target = first.slice(one + 1, two)
  const version = first.slice(two + 1)
  if (!TOKEN.test(method) || method.length > 32) throw new HttpFault("has a method that is not a token")
  if (target.length > TARGET_MAX_BYTES)
    throw new HttpFault(`has a target of more than ${TARGET_MAX_BYTES} bytes`)
  if (!TARGET.test(target)) throw new HttpFault("has a target with characters that must be percent-encoded")
  return { method, target, minor: minorOf(version), fields: parseFields(lines, 1, FIELDS_MAX) }
}

/** Reads a response head; `bytes` ends with its empty line. The reason may be missing. Throws HttpFault. */
export function parseResponseHead(bytes: Buffer): ResponseHead {
  const lines = splitLines(bytes)
  const first = lines[0]!
  const match = /^(HTTP\/\d\.\d) ([1-5]\d\d)(?: (.*))?$/.exec(first)
  if (match === null) throw new HttpFault("has no valid status line")
  const reason = match[3] ?? ""
  if (!VALUE.test(reason)) throw new HttpFault("has a reason with control characters")
  return {
    status: Number(match[2]),
    reason,
    minor: minorOf(match[1]!),
    fields: parseFields(lines, 1, FIELDS_MAX),
  }
}

/** Reads a trailer section without its last empty line; `text` has one character per byte. Throws HttpFault. */
export function parseTrailers(text: string): Field[] {
  return text === "" ? [] : parseFields(text.split("\r\n"), 0, FIELDS_MAX)
}

function splitLines(bytes: Buffer): string[] {
  return bytes.toString("latin1", 0, bytes.length - 4).split("\r\n")
}

function minorOf(version: string): 0 | 1 {
  if (version === "HTTP/1.1") return 1
  if (version === "HTTP/1.0") return 0
  throw new HttpFault("is not HTTP/1.1")
}

function parseFields(lines: string[], from: number, max: number): Field[] {
  if (lines.length - from > max) throw new HttpFault(`has more than ${max} header fields`)
  const fields: Field[] = []
  for (let i = from; i < lines.length; i++) {
    const line = lines[i]!
    const colon = line.indexOf(":")
    const name = colon < 0 ? "" : line.slice(0, colon)
    if (!TOKEN.test(name)) throw new HttpFault(faultOfName(line, name))
    const value = trimBlanks(line, colon + 1)
    if (!VALUE.test(value))
      throw new HttpFault("has a header value with a control character or a bare line end")
    fields.push({ name, key: name.toLowerCase(), value })
  }
  return fields
}

function faultOfName(line: string, name: string): string {
  if (line.startsWith(" ") || line.startsWith("\t")) return "has a folded header line"
  if (name === "") return "has a header line without a name"
  if (/[ \t]$/.test(name)) return "has a blank before the colon of a header"
  return "has a header name that is not a token"
}

/** Blanks are space and tab only: `trim()` would take NBSP and other bytes of obs-text as well. */
function trimBlanks(line: string, from: number): string {
  let start = from
  let end = line.length
  while (start < end && isBlank(line.charCodeAt(start))) start++
  while (end > start && isBlank(line.charCodeAt(end - 1))) end--
  return line.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9
}

/** Value of the only field of that name; undefined when there is none. Several are joined as RFC 9110 5.3 says. */
export function fieldValue(fields: readonly Field[], key: string): string | undefined {
  let found: string | undefined
  for (const field of fields) {
    if (field.key === key) found = found === undefined ? field.value : `${found}, ${field.value}`
  }
  return found
}

/** Lower-case members of a comma-separated list header; empty members are dropped. */
export function listOf(fields: readonly Field[], key: string): string[] {
  const value = fieldValue(fields, key)
  if (value === undefined) return []
  return value
    .split(",")
    .map((part) => part.trim().toLowerCase())
    .filter((part) => part !== "")
}
