/** How much work one scanned thing may cause: hostile input is bounded by it, and then refused. */
import type { Bound } from "./finding.ts"

/**
 * Bytes that may be looked at and written per byte that came. Conversations full of code take 5 to 8; sixteen copies of
 * every byte are no conversation.
 */
const WORK_PER_BYTE = 24
/** Bytes on top, for small things that unfold: a deflated page of text in a parameter */
const WORK_BASE = 8 * 1024 * 1024
/** Bytes that patterns may be matched against, per byte that came: code takes 0.1, a table of passwords 5 */
const PATTERN_PER_BYTE = 6
/** Bytes on top: what a small archive of documentation unfolds to */
const PATTERN_BASE = 512 * 1024
/** Patterns' setting up costs about what 64 bytes do */
const PATTERN_CALL = 64

/** Thrown inside the scanner, and turned into a finding by it. */
export class BudgetSpent extends Error {
  override readonly name = "BudgetSpent"
  readonly bound: Bound

  constructor(bound: Bound) {
    super(`over budget: ${bound}`)
    this.bound = bound
  }
}

export class Budget {
  #work = WORK_BASE
  #pattern = PATTERN_BASE
  #spent = 0

  /** Bytes looked at and written so far */
  get spent(): number {
    return this.#spent
  }

  /** Bytes that came from outside. */
  earn(bytes: number): void {
    this.#work += bytes * WORK_PER_BYTE
    this.#pattern += bytes * PATTERN_PER_BYTE
  }

  /** Throws BudgetSpent. */
  work(bytes: number): void {
    this.#work -= bytes
    this.#spent += bytes
    if (this.#work < 0) throw new BudgetSpent("work")
  }

  /** Bytes that may still be decoded. */
  get left(): number {
    return this.#work
  }

  /** A pattern on a window of this many bytes. Throws BudgetSpent. */
  pattern(bytes: number): void {
    this.#pattern -= bytes + PATTERN_CALL
    if (this.#pattern < 0) throw new BudgetSpent("windows")
  }
}
