/** Turns what the walk meets into findings, each once. */
import { Budget } from "./budget.ts"
import { type Finding, hashOf, KNOWN_SECRET, type Place, redact } from "./finding.ts"
import type { KnownHit } from "./known.ts"
import type { PatternHit } from "./patterns.ts"
import { latin1 } from "./patterns.ts"
import { SEED_PHRASE } from "./ruleset.ts"
import { reachesEnd, sourceOf, type View } from "./view.ts"
import type { Visitor } from "./walk.ts"

/** Where an offset in the window lies: small things are looked at together. */
export type Locate = (offset: number) => { place: Place; offset: number }

/** Matches of patterns that are told of one thing, by severity: a list of secrets is told by its first hundred */
const TOLD_MAX = { block: 100, note: 20 }

export class Collector implements Visitor {
  readonly budget = new Budget()
  /** Earliest byte of the window at which compressed data begins that goes on beyond it */
  unfinishedFrom = Number.POSITIVE_INFINITY
  /** Whether nothing follows the bytes that are looked at */
  isLast = true
  readonly #key: string
  readonly #locate: Locate
  readonly #seen = new Set<string>()
  readonly #rules = new Set<string>()
  #found: Finding[] = []
  readonly #told = { block: 0, note: 0 }

  constructor(key: string, locate: Locate) {
    this.#key = key
    this.#locate = locate
  }

  /** Findings since the last call. */
  take(): Finding[] {
    const found = this.#found
    this.#found = []
    return found
  }

  pattern(view: View, { rule, value, start }: PatternHit): void {
    // Cut off by the end of the window, it is looked at again with what follows, and then has its own hash.
    if (!this.isLast && reachesEnd(view, start + value.length)) return
    if (view.decoded.includes("joined")) {
      // Lists of words put together make long ones; hardly a random value is without a digit.
      if (!/[0-9]/.test(value)) return
      // What stood there whole stands here again, with the next string at its end.
      if (this.#rules.has(rule.id)) return
    }
    this.#rules.add(rule.id)
    // Known secrets are told always: no flood of others hides one.
    if (this.#told[rule.severity] >= TOLD_MAX[rule.severity]) return
    this.#add(view, start, {
      rule: rule.id,
      severity: rule.severity,
      decoded: view.decoded,
      redacted: redact(value, rule.keywords),
      hash: hashOf(this.#key, value),
    })
  }

  known(view: View, { secret, encoding, start }: KnownHit): void {
    this.#add(view, start, {
      rule: KNOWN_SECRET,
      severity: "block",
      decoded: encoding === "" ? view.decoded : [...view.decoded, encoding],
      redacted: redact(secret.value, []),
      hash: hashOf(this.#key, Buffer.from(secret.value, "utf8").toString("latin1")),
      secret: secret.name,
    })
  }

  seedPhrase(view: View, start: number, end: number): void {
    const value = latin1(view.bytes, start, end)
    this.#add(view, start, {
      rule: SEED_PHRASE,
      severity: "block",
      decoded: view.decoded,
      redacted: redact(value, []),
      hash: hashOf(this.#key, value),
    })
  }

  unfinished(view: View, at: number): boolean {
    if (this.isLast) return false
    this.unfinishedFrom = Math.min(this.unfinishedFrom, sourceOf(view, at))
    return true
  }

  #add(view: View, at: number, finding: Omit<Finding, "place" | "offset">): void {
    const id = `${finding.rule} ${finding.hash}`
    if (this.#seen.has(id)) return
    this.#seen.add(id)
    if (finding.rule !== KNOWN_SECRET) this.#told[finding.severity]++
    this.#found.push({ ...finding, ...this.#locate(sourceOf(view, at)) })
  }
}
