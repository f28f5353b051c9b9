/** Looks at bytes, at what they decode to, at what that decodes to, and so on to a bound. */
import { type Budget, BudgetSpent } from "./budget.ts"
import { decompress } from "./decode/compressed.ts"
import { decodeDigits } from "./decode/digits.ts"
import { ESCAPES } from "./decode/escapes.ts"
import { joinStrings } from "./decode/joins.ts"
import { rewrite } from "./decode/rewrite.ts"
import { decodeWide } from "./decode/wide.ts"
import { findKnown, type KnownHit, type KnownSecrets } from "./known.ts"
import { findPatterns, latin1, type PatternHit, type Patterns } from "./patterns.ts"
import { seedPhrases } from "./seed-phrase.ts"
import { rootView, type View } from "./view.ts"

/**
 * Decodings on top of each other. A source map in a bundle in a string in a conversation has four; what still unfolds
 * after five was folded to hide.
 */
export const DEPTH_MAX = 5
/** Bytes of text that a decoding beyond the bound must give to count as hidden: less is chance */
const HIDDEN_MIN = 48

export interface Sought {
  readonly patterns: Patterns
  readonly known: KnownSecrets
  /** Whether seed phrases are looked for */
  readonly seedPhrases: boolean
}

export interface Visitor {
  readonly budget: Budget
  pattern(view: View, hit: PatternHit): void
  known(view: View, hit: KnownHit): void
  seedPhrase(view: View, start: number, end: number): void
  /** Compressed data that goes on beyond the bytes, by where it begins in the view; true when the rest will come */
  unfinished(view: View, at: number): boolean
}

/** Throws BudgetSpent when there is more to do than may be done. */
export function walk(sought: Sought, bytes: Uint8Array, visitor: Visitor): void {
  visit(sought, rootView(bytes), visitor)
}

function visit(sought: Sought, view: View, visitor: Visitor): void {
  const { budget } = visitor
  budget.work(view.bytes.length)
  findPatterns(sought.patterns, view.bytes, budget, (hit) => visitor.pattern(view, hit))
  findKnown(sought.known, view.bytes, (hit) => visitor.known(view, hit))
  if (sought.seedPhrases) {
    for (const { start, end } of seedPhrases(latin1(view.bytes))) visitor.seedPhrase(view, start, end)
  }
  const last = view.decoded.length >= DEPTH_MAX
  for (const child of children(view, visitor)) {
    if (!last) visit(sought, child, visitor)
    else if (isHidden(child)) throw new BudgetSpent("depth")
  }
}

function* children(view: View, visitor: Visitor): Generator<View> {
  if (view.bytes.length < 8) return
  for (const form of ESCAPES) {
    const escaped = rewrite(form, view)
    if (escaped !== undefined) yield escaped
  }
  const joined = joinStrings(view)
  if (joined !== undefined) yield joined
  yield* decodeDigits(view)
  const wide = decodeWide(view)
  if (wide !== undefined) yield wide
  const { budget } = visitor
  yield* decompress(view, {
    work: (bytes) => budget.work(bytes),
    get left() {
      return budget.left
    },
    unfinished: (at, from) => visitor.unfinished(at, from),
  })
}

/** Decodings of which ordinary text leaves some at any depth: quotes that are escaped, lists of strings. */
const COMMON = new Set(["escapes", "joined", "entities", "quoted-printable"])

/** Whether a decoding beyond the bound gives text, and so would have gone on. */
function isHidden(child: View): boolean {
  const name = child.decoded.at(-1)!
  const source = child.parent!.bytes
  if (name === "escapes") return countCodes(source) >= HIDDEN_MIN / 4
  if (COMMON.has(name)) return false
  if (name === "percent")
    return (
      child.from.reduce((sum, from, i) => sum + child.to[i]! - from, 0) - child.bytes.length >= HIDDEN_MIN
    )
  return longestText(child.bytes) >= HIDDEN_MIN
}

/** Escapes that give a character by number, which text needs seldom and hiding always. */
function countCodes(bytes: Uint8Array): number {
  let count = 0
  for (let at = bytes.indexOf(0x5c); at >= 0; at = bytes.indexOf(0x5c, at + 1)) {
    const next = bytes[at + 1]
    if (next === 0x75 || next === 0x78) count++
  }
  return count
}

function longestText(bytes: Uint8Array): number {
  let longest = 0
  let from = 0
  for (let i = 0; i <= bytes.length; i++) {
    const byte = i < bytes.length ? bytes[i]! : 0
    if ((byte >= 0x20 && byte < 0x7f) || byte === 10 || byte === 13 || byte === 9) continue
    longest = Math.max(longest, i - from)
    from = i + 1
  }
  return longest
}
