/**
 * One schema for every refusal: the 403 body of egress, the `remote:` text of git-gate, the error of supervise.
 * It is written for a model to read, so each field says one thing and the whole stays under 1 KB.
 */
import * as z from "zod/mini"

export const DENIAL_MAX_BYTES = 1024

export const denial = z.strictObject({
  /** The gate that refused */
  by: z.enum(["egress", "git-gate", "supervise"]),
  /** Short kebab-case name of the rule, stable across versions */
  rule: z.string().check(z.regex(/^[a-z0-9-]{1,48}$/)),
  /** What was refused, without query or credentials */
  what: z.string(),
  /** Why, in one sentence */
  why: z.string(),
  /** What would pass instead; empty when nothing would */
  allowed: z.string(),
  /** How to ask for more */
  ask: z.string(),
  /** True when the same request may pass later without a change of policy */
  retryable: z.boolean(),
})

export type Denial = z.infer<typeof denial>

/** Name of the header that marks a refusal: value `<by>/<rule>`; egress removes it from upstream answers. */
export const BLOCK_HEADER = "X-Bottle-Block"

/** Control, bidirectional and zero-width characters, which must not reach a person's terminal or a model. */
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

/** Makes text from the bottle safe to show: hidden characters become `?`, the length is cut to `max` characters. */
export function showable(text: string, max = 200): string {
  const clean = text.replace(HIDDEN, "?")
  return clean.length <= max ? clean : `${clean.slice(0, max - 3)}...`
}

/** JSON that is safe to show on a terminal: hidden characters inside of strings are written as escapes. */
export function showableJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent)
  return text.replace(HIDDEN, (character) => {
    if (character === "\n") return character
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  })
}

/** The denial as one line, beginning `<by>: `, for logs, git and the HTTP reason phrase. */
export function denialLine(d: Denial): string {
  const allowed = d.allowed === "" ? "" : ` Allowed: ${d.allowed}.`
  return showable(`${d.by}: ${d.what} refused (${d.rule}): ${d.why}.${allowed} ${d.ask}`.trim(), 480)
}

/** The denial as JSON text with a newline, at most DENIAL_MAX_BYTES bytes. */
export function denialBody(d: Denial): string {
  for (const max of [200, 120, 60, 20]) {
    const cut: Denial = {
      ...d,
      what: showable(d.what, max),
      why: showable(d.why, max),
      allowed: showable(d.allowed, max),
      ask: showable(d.ask, max),
    }
    const text = `${JSON.stringify(cut)}\n`
    if (Buffer.byteLength(text) <= DENIAL_MAX_BYTES) return text
  }
  return `${JSON.stringify({ ...d, what: "", why: "", allowed: "", ask: "" })}\n`
}
