/** Matches rules: keywords first, then a cheap condition, and only then the pattern, on the bytes around the keyword. */
import { RE2JS } from "re2js"
import type { Budget } from "./budget.ts"
import { CHECKS, entropy } from "./checks.ts"
import { findKeywords, indexKeywords, type KeywordIndex } from "./keywords.ts"
import type { Alphabet, Rule } from "./rule.ts"

/** A rule's match in the bytes that were looked at. */
export interface PatternHit {
  readonly rule: Rule
  /** The secret, one character a byte */
  readonly value: string
  readonly start: number
}

/** A rule, its place in the ruleset, and its pattern, which is compiled when its keyword first occurs. */
interface Candidate {
  readonly rule: Rule
  readonly index: number
  readonly mask: number
  pattern?: RE2JS
}

export interface Patterns {
  readonly keywords: KeywordIndex<Candidate>
  readonly candidates: readonly Candidate[]
  /** Characters that the longest rule reaches */
  readonly reach: number
}

/** Weight of finding a match's place against asking whether there is one: the DFA does only the latter. */
const FIND_WEIGHT = 4

/** Bytes that a pattern is matched against at once: a long list of secrets is told by its first ones */
const SLICE = 8 * 1024

const MASKS: Readonly<Record<Alphabet, number>> = { digits: 1, hex: 2, alnum: 4, token: 8, visible: 16 }
const CLASSES = new Uint8Array(256)
for (let byte = 0x21; byte < 0x7f; byte++) {
  const c = String.fromCharCode(byte)
  if (/[0-9]/.test(c)) CLASSES[byte]! |= MASKS.digits
  if (/[0-9a-fA-F-]/.test(c)) CLASSES[byte]! |= MASKS.hex
  if (/[0-9A-Za-z]/.test(c)) CLASSES[byte]! |= MASKS.alnum
  if (/[0-9A-Za-z_\-+/=.~]/.test(c)) CLASSES[byte]! |= MASKS.token
  if (!/["'`<>]/.test(c)) CLASSES[byte]! |= MASKS.visible
}

/** Throws for a rule without keywords, which would never be looked for. */
export function compilePatterns(rules: readonly Rule[]): Patterns {
  const candidates = rules.map((rule, index) => ({ rule, index, mask: MASKS[rule.run.of] }))
  const keywords = candidates.flatMap((value) => {
    if (value.rule.keywords.length === 0) throw new Error(`the rule ${value.rule.id} has no keyword`)
    return value.rule.keywords.map((keyword) => ({ keyword, value }))
  })
  return {
    keywords: indexKeywords(keywords),
    candidates,
    reach: rules.reduce((most, rule) => Math.max(most, rule.before + rule.after), 0),
  }
}

/** Calls `hit` for every match. Throws BudgetSpent. */
export function findPatterns(
  patterns: Patterns,
  bytes: Uint8Array,
  budget: Budget,
  hit: (hit: PatternHit) => void,
): void {
  /** Window of each rule that waits for its end: keywords close to each other share one */
  const waiting = new Map<Candidate, { from: number; to: number }>()
  findKeywords(patterns.keywords, bytes, (candidate, at) => {
    const { rule } = candidate
    budget.work(rule.after >> 2)
    const to = Math.min(bytes.length, at + rule.after)
    if (!hasRun(bytes, at, to, candidate.mask, rule.run.least)) return
    const from = Math.max(0, at - rule.before)
    const window = waiting.get(candidate)
    if (window === undefined) {
      waiting.set(candidate, { from, to })
    } else if (from <= window.to) {
      window.to = to
    } else {
      matchWindow(candidate, bytes, window, budget, hit)
      window.from = from
      window.to = to
    }
  })
  for (const [candidate, window] of waiting) matchWindow(candidate, bytes, window, budget, hit)
}

function hasRun(bytes: Uint8Array, from: number, to: number, mask: number, least: number): boolean {
  let at = from + least - 1
  let clear = from
  while (at < to) {
    let i = at
    while (i >= clear && (CLASSES[bytes[i]!]! & mask) !== 0) i--
    if (i < clear) return true
    clear = i + 1
    at = i + least
  }
  return false
}

function matchWindow(
  candidate: Candidate,
  bytes: Uint8Array,
  window: { from: number; to: number },
  budget: Budget,
  hit: (hit: PatternHit) => void,
): void {
  const { rule } = candidate
  const { from, to } = window
  candidate.pattern ??= RE2JS.compile(rule.pattern)
  const reach = rule.before + rule.after
  for (let at = from; at < to; at += SLICE) {
    // A match is told by the slice in which it begins; the byte before is there for patterns that look at it.
    const start = Math.max(from, at - 1)
    const end = Math.min(to, at + SLICE + reach)
    budget.pattern(end - start)
    const text = latin1(bytes, start, end)
    if (candidate.pattern.test(text))
      findIn(candidate.pattern, rule, text, start, at, at + SLICE, budget, hit)
  }
}

function findIn(
  pattern: RE2JS,
  rule: Rule,
  text: string,
  start: number,
  from: number,
  to: number,
  budget: Budget,
  hit: (hit: PatternHit) => void,
): void {
  budget.pattern(text.length * FIND_WEIGHT)
  const matcher = pattern.matcher(text)
  const group = rule.secret ?? 0
  while (matcher.find()) {
    const at = start + matcher.start(0)
    if (at >= to) return
    const value = matcher.group(group)
    if (at < from || value === null || !isReal(rule, value)) continue
    hit({ rule, value, start: start + matcher.start(group) })
  }
}

function isReal(rule: Rule, value: string): boolean {
  if (rule.entropy !== undefined && entropy(value) < rule.entropy) return false
  return rule.check === undefined || CHECKS[rule.check](value)
}

/** Bytes as text, one character each. */
export function latin1(bytes: Uint8Array, from = 0, to = bytes.length): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("latin1")
}
