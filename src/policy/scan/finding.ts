/** What the scanner reports: which rule, where, and how to recognise it again, but never the value itself. */
import { createHmac } from "node:crypto"

/** `block`: a secret leaves. `note`: worth a line in the ledger, no reason to refuse. */
export type Severity = "block" | "note"

/** Rule of findings about exact values that the bottle was told to guard */
export const KNOWN_SECRET = "known-secret"
/** Rule of findings that say the scanner could not look at everything: to be treated as a block */
export const OVER_BUDGET = "over-budget"

/** Part of a request, or of anything else that is scanned. */
export interface Place {
  /** Which part: `host`, `path`, `query`, `userinfo`, `header-name`, `header-value`, `head`, `body`, `message`, `object` */
  readonly part: string
  /** Name inside the part: of a header or of a query parameter; hostile text */
  readonly name?: string
}

/** Why the scanner stopped: which bound was met. */
export type Bound = "work" | "windows" | "depth" | "held-bytes" | "decoded-bytes" | "undecodable"

export interface Finding {
  /** Identifier of the rule, `known-secret` or `over-budget` */
  readonly rule: string
  /** Consequence that the rule asks for */
  readonly severity: Severity
  /** Part in which it was found */
  readonly place: Place
  /** Where it begins in that part as it was sent, in bytes; of what is encoded, where the encoded piece begins */
  readonly offset: number
  /** Decodings on the way to it, outermost first; empty when it stood there plainly */
  readonly decoded: readonly string[]
  /** What it looks like, without the value: a public prefix at most, and its length */
  readonly redacted: string
  /** HMAC-SHA-256 of the value under the scanner's key, first 16 hex digits; empty for `over-budget` */
  readonly hash: string
  /** Name of the known secret; only for `known-secret` */
  readonly secret?: string
  /** Bound that was met; only for `over-budget` */
  readonly bound?: Bound
}

/** First 16 hex digits of the value's HMAC: tells equal values apart from others, and nothing more without the key. */
export function hashOf(key: string, value: string): string {
  return createHmac("sha256", key).update(value, "latin1").digest("hex").slice(0, 16)
}

/**
 * The form that may be shown: the public prefix that the rule's keyword is, when the value begins with it, and the
 * length in characters.
 */
export function redact(value: string, keywords: readonly string[]): string {
  const lower = value.slice(0, 32).toLowerCase()
  const prefix = keywords.find((keyword) => lower.startsWith(keyword)) ?? ""
  return `${value.slice(0, prefix.length)}… (${value.length} characters)`
}

export function overBudget(place: Place, bound: Bound, offset: number): Finding {
  const redacted = `the scanner gave up: ${bound}`
  return { rule: OVER_BUDGET, severity: "block", place, offset, decoded: [], redacted, hash: "", bound }
}
