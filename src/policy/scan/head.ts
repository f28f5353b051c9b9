/** Scans a request's head: each part where it stands, and parts put together that a secret may have been split over. */
import { BudgetSpent } from "./budget.ts"
import { entropy } from "./checks.ts"
import { Collector } from "./collector.ts"
import { type Finding, hashOf, overBudget, type Place, redact } from "./finding.ts"
import { type Sought, walk } from "./walk.ts"

/** What a request says before its body, as the client sent it. */
export interface RequestHead {
  /** Host without port */
  readonly host: string
  /** Path as it was sent, escapes and all */
  readonly path: string
  /** Query as it was sent, without `?` */
  readonly query: string
  /** User and password of the target, without `@` */
  readonly userinfo?: string
  /** Header fields in order, names as they came, values one character a byte */
  readonly headers: readonly (readonly [name: string, value: string])[]
}

export const HOST_ENTROPY = "high-entropy-host-label"
export const QUERY_ENTROPY = "high-entropy-query-value"

/** Random names of cloud hosts are as long; data carried out over names is longer. */
const LABEL_MIN = 20
const LABEL_ENTROPY = 3.6
/** Identifiers and signatures of URLs are as long; the note costs one line */
const VALUE_MIN = 24
const VALUE_ENTROPY = 4
/** Notes of one head; more say nothing more */
const NOTES_MAX = 8

interface Part {
  readonly place: Place
  readonly start: number
  readonly text: string
}

/** Everything found in one head; over-budget is one of the findings. */
export function scanHead(sought: Sought, key: string, head: RequestHead): Finding[] {
  const { text, parts } = layOut(head)
  const found = look(sought, key, text, (offset) => {
    const part = partAt(parts, offset)
    return { place: part.place, offset: Math.max(0, offset - part.start) }
  })
  const rules = new Set(found.map((finding) => finding.rule))
  const whole: Place = { part: "head" }
  for (const finding of look(sought, key, joined(head), (offset) => ({ place: whole, offset }))) {
    // What is found in one part is found in the joined text too, a little longer.
    if (!rules.has(finding.rule)) found.push({ ...finding, decoded: ["joined", ...finding.decoded] })
  }
  return [...found, ...entropyNotes(key, head)]
}

function look(
  sought: Sought,
  key: string,
  text: string,
  locate: ConstructorParameters<typeof Collector>[1],
): Finding[] {
  const collector = new Collector(key, locate)
  const bytes = Buffer.from(text, "latin1")
  collector.budget.earn(bytes.length)
  try {
    walk(sought, bytes, collector)
    return collector.take()
  } catch (error) {
    if (!(error instanceof BudgetSpent)) throw error
    return [...collector.take(), overBudget({ part: "head" }, error.bound, 0)]
  }
}

/** The parts below each other, as a request has them, so that one look is enough. */
function layOut(head: RequestHead): { text: string; parts: Part[] } {
  const parts: Part[] = []
  let text = ""
  const add = (place: Place, value: string, after: string) => {
    parts.push({ place, start: text.length, text: value })
    text += value + after
  }
  add({ part: "host" }, head.host, "\n")
  if (head.userinfo !== undefined) add({ part: "userinfo" }, head.userinfo, "\n")
  add({ part: "path" }, head.path, "\n")
  add({ part: "query" }, head.query, "\n")
  for (const [name, value] of head.headers) {
    add({ part: "header-name", name }, name, ": ")
    add({ part: "header-value", name }, value, "\n")
  }
  return { text, parts }
}

function partAt(parts: readonly Part[], offset: number): Part {
  let found = parts[0]!
  for (const part of parts) {
    if (part.start > offset) break
    found = part
  }
  return found
}

/** Labels, segments, values of the query and of the fields, each kind without what separates them. */
function joined(head: RequestHead): string {
  const values = head.headers.map(([, value]) => value)
  return [
    head.host.replaceAll(".", ""),
    head.path.replaceAll("/", ""),
    queryValues(head.query).join(""),
    values.join(""),
    head.headers.map(([name]) => name).join(""),
  ].join("\n")
}

function queryValues(query: string): string[] {
  return query.split(/[&;]/).map((piece) => piece.slice(piece.indexOf("=") + 1))
}

function entropyNotes(key: string, head: RequestHead): Finding[] {
  const notes: Finding[] = []
  const add = (rule: string, place: Place, value: string, offset: number) => {
    if (notes.length >= NOTES_MAX) return
    const hash = hashOf(key, value)
    notes.push({ rule, severity: "note", place, offset, decoded: [], redacted: redact(value, []), hash })
  }
  let at = 0
  for (const label of head.host.split(".")) {
    if (label.length >= LABEL_MIN && entropy(label.toLowerCase()) >= LABEL_ENTROPY) {
      add(HOST_ENTROPY, { part: "host" }, label, at)
    }
    at += label.length + 1
  }
  at = 0
  for (const piece of head.query.split(/[&;]/)) {
    const equals = piece.indexOf("=")
    const value = piece.slice(equals + 1)
    if (value.length >= VALUE_MIN && entropy(value) >= VALUE_ENTROPY) {
      const place = equals > 0 ? { part: "query", name: piece.slice(0, equals) } : { part: "query" }
      add(QUERY_ENTROPY, place, value, at + equals + 1)
    }
    at += piece.length + 1
  }
  return notes
}
