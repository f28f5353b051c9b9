/**
 * Finds secrets in what leaves: exact values and patterns, plain and encoded, in whole texts and in streams. Pure: the
 * same for requests and for git objects.
 */
import { randomBytes } from "node:crypto"
import { BodyScan, HOLD_BACK_MIN } from "./body.ts"
import { BudgetSpent } from "./budget.ts"
import { Collector } from "./collector.ts"
import { type Finding, KNOWN_SECRET, overBudget, type Place } from "./finding.ts"
import { type RequestHead, scanHead } from "./head.ts"
import { compileKnown, type KnownSecret } from "./known.ts"
import { compilePatterns } from "./patterns.ts"
import type { Ruleset } from "./ruleset.ts"
import { type Sought, walk } from "./walk.ts"

export interface ScannerOptions {
  /** Key of the findings' hashes; random when absent, and then hashes of two scanners cannot be compared */
  readonly key?: string
}

export interface Scanner {
  /** Bytes at the end of a stream that are never let go before its end */
  readonly holdBack: number
  /** Scans something small as a whole. What was not looked at is told as `over-budget` */
  text(place: Place, bytes: Uint8Array): Finding[]
  /** Scans all that a request says before its body, also over its parts */
  head(head: RequestHead): Finding[]
  /**
   * Begins to scan a stream: a body, a message (`part`: `message`), a git object (`object`). Both texts are the fields'
   * values, empty when absent.
   */
  body(contentType: string, contentEncoding: string, part?: string): BodyScan
  /** Plants secrets and finds them again. Throws when it does not: such a scanner must not serve. */
  prove(): void
}

/** Multiples of a value's length that its nested spellings take: an escape of six characters a byte, of escapes */
const SPELLED = 36

/** Builds a scanner. Patterns are compiled when they are first needed. Throws for a ruleset that is none. */
export function compile(
  ruleset: Ruleset,
  secrets: readonly KnownSecret[],
  options: ScannerOptions = {},
): Scanner {
  const canary: KnownSecret = { name: "self-proof", value: randomBytes(24).toString("hex") }
  const sought: Sought = {
    patterns: compilePatterns(ruleset.rules),
    known: compileKnown([...secrets, canary]),
    seedPhrases: ruleset.seedPhrases,
  }
  const key = options.key ?? randomBytes(32).toString("hex")
  const holdBack = Math.max(HOLD_BACK_MIN, sought.known.longest * SPELLED, sought.patterns.reach * 4)
  const scanner: Scanner = {
    holdBack,
    text(place, bytes) {
      const collector = new Collector(key, (offset) => ({ place, offset }))
      collector.budget.earn(bytes.length)
      try {
        walk(sought, bytes, collector)
        return collector.take()
      } catch (error) {
        if (!(error instanceof BudgetSpent)) throw error
        return [...collector.take(), overBudget(place, error.bound, 0)]
      }
    },
    head: (head) => scanHead(sought, key, head),
    body: (contentType, contentEncoding, part = "body") =>
      new BodyScan(sought, holdBack, key, { part }, contentType, contentEncoding),
    prove: () => prove(scanner, ruleset, canary),
  }
  return scanner
}

function prove(scanner: Scanner, ruleset: Ruleset, canary: KnownSecret): void {
  const planted = [
    { rule: KNOWN_SECRET, value: canary.value },
    { rule: ruleset.proof.rule, value: ruleset.proof.sample() },
  ]
  const found = (text: string) => {
    const body = scanner.body("application/json", "")
    const bytes = Buffer.from(JSON.stringify({ messages: [{ role: "user", content: text }] }))
    return [...body.push(bytes).findings, ...body.end().findings].map((finding) => finding.rule)
  }
  for (const { rule, value } of planted) {
    const forms = { plain: value, base64: Buffer.from(`proof ${value} proof`).toString("base64") }
    for (const [form, text] of Object.entries(forms)) {
      if (!found(`planted: ${text}`).includes(rule)) {
        throw new Error(`the scanner did not find what was planted for ${rule} (${form})`)
      }
    }
  }
  // A scanner that finds something everywhere has proven nothing.
  const nothing = found("planted: nothing at all, in words that no rule is about")
  if (nothing.length > 0) throw new Error(`the scanner found ${nothing[0]} where nothing was planted`)
}
