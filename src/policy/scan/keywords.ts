/**
 * The literal prefilter: finds rules' keywords in bytes, whatever their case. Each place's four bytes are hashed into a
 * bit table that fits the first-level cache; only where a bit is set is anything compared.
 */

/** Bytes in lower case: ASCII letters alone. */
const LOWERED = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte,
)
/** 131,072 bits, 16 KiB: all keywords, short ones with each follower, set two or three in a hundred */
const HASH_BITS = 17
/** Knuth's multiplicative hash: the golden ratio in 32 bits */
const MULTIPLIER = 0x9e3779b1
/** What may follow a keyword of three characters, for which four bytes must be known: what is printed, in lower case */
const FOLLOWERS = Array.from({ length: 0x7f - 0x20 }, (_, i) => String.fromCharCode(0x20 + i))
  .concat("\t", "\n", "\r")
  .filter((character) => character === character.toLowerCase())

interface Entry<T> {
  readonly bytes: Uint8Array
  readonly value: T
}

export interface KeywordIndex<T> {
  readonly bits: Uint32Array
  readonly entries: ReadonlyMap<number, readonly Entry<T>[]>
}

/** Keywords are in lower case; throws for those under 3 bytes, which would be everywhere. */
export function indexKeywords<T>(keywords: readonly { keyword: string; value: T }[]): KeywordIndex<T> {
  const bits = new Uint32Array(1 << (HASH_BITS - 5))
  const entries = new Map<number, Entry<T>[]>()
  for (const { keyword, value } of keywords) {
    if (keyword.length < 3) throw new Error(`the keyword ${JSON.stringify(keyword)} is too short`)
    const spelled = keyword.length === 3 ? FOLLOWERS.map((next) => keyword + next) : [keyword]
    for (const text of spelled) {
      const bytes = new Uint8Array(Buffer.from(text, "latin1"))
      const key = (bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!
      const hash = Math.imul(key, MULTIPLIER) >>> (32 - HASH_BITS)
      bits[hash >>> 5]! |= 1 << (hash & 31)
      const known = entries.get(key)
      if (known === undefined) entries.set(key, [{ bytes, value }])
      else known.push({ bytes, value })
    }
  }
  return { bits, entries }
}

/** Calls `hit` with the start of each keyword, in order. */
export function findKeywords<T>(
  index: KeywordIndex<T>,
  bytes: Uint8Array,
  hit: (value: T, at: number) => void,
): void {
  const { bits, entries } = index
  const n = bytes.length
  if (n < 4) return
  let key = (LOWERED[bytes[0]!]! << 16) | (LOWERED[bytes[1]!]! << 8) | LOWERED[bytes[2]!]!
  for (let i = 3; i < n; i++) {
    key = (key << 8) | LOWERED[bytes[i]!]!
    const hash = Math.imul(key, MULTIPLIER) >>> (32 - HASH_BITS)
    if ((bits[hash >>> 5]! & (1 << (hash & 31))) === 0) continue
    const list = entries.get(key)
    if (list === undefined) continue
    for (const entry of list) if (continues(entry.bytes, bytes, i - 3)) hit(entry.value, i - 3)
  }
}

function continues(keyword: Uint8Array, bytes: Uint8Array, at: number): boolean {
  if (at + keyword.length > bytes.length) return false
  for (let i = 4; i < keyword.length; i++) if (LOWERED[bytes[at + i]!] !== keyword[i]) return false
  return true
}
