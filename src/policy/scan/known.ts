/**
 * Finds exact values in bytes, in the encodings that keep a text's order: raw, with case and separators changed, percent
 * and unicode escapes of every byte, base64 and base64url at three offsets, base32 at five, hexadecimal, UTF-16. Other
 * spellings, and all of them nested, come through the decoders.
 *
 * Bytes are folded before they are compared: lower case, without `-_. ` and line breaks. Needles are found as Wu and
 * Manber (1994) do, so that their number does not count.
 */
import { type Bytes, base32Cores, base64Cores } from "./spelling.ts"

/** Shortest secret that is looked for, in UTF-8 bytes: shorter ones would match ordinary traffic. */
export const KNOWN_MIN_BYTES = 8

/** A value that must not leave. */
export interface KnownSecret {
  /** Name for findings: the variable, the route; no secret itself */
  readonly name: string
  /** The value, at least KNOWN_MIN_BYTES in UTF-8 */
  readonly value: string
}

interface Needle {
  readonly bytes: Uint8Array
  readonly secret: KnownSecret
  readonly encoding: string
}

/** Needles under one folding. */
interface NeedleSet {
  readonly fold: Uint8Array
  /** Whether folding drops bytes */
  readonly drops: boolean
  /** How far to move on by hash of three bytes */
  readonly shift: Uint8Array
  readonly buckets: ReadonlyMap<number, readonly Needle[]>
}

export interface KnownSecrets {
  readonly sets: readonly NeedleSet[]
  /** Length of the longest value, in bytes; 0 without any */
  readonly longest: number
}

/** One occurrence: of which secret, in which spelling, from where to where in the bytes that were looked at. */
export interface KnownHit {
  readonly secret: KnownSecret
  readonly encoding: string
  readonly start: number
  readonly end: number
}

/** Stands in folding tables for bytes that are skipped; no folded text holds it, as UTF-8 never does. */
const DROPPED = 0xff
const BLOCK = 3
const HASH_BITS = 14
const DROPPED_BYTES = "-_. \r\n"

const FOLDED = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte < 0x80 && DROPPED_BYTES.includes(String.fromCharCode(byte))) return DROPPED
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
})
/** Case counts not, separators do: for values that are nothing without them */
const CASELESS = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte,
)

/** Values under KNOWN_MIN_BYTES are left out; equal ones are looked for once. */
export function compileKnown(secrets: readonly KnownSecret[]): KnownSecrets {
  const loose: Needle[] = []
  const strict: Needle[] = []
  const seen = new Set<string>()
  let longest = 0
  for (const secret of secrets) {
    const value = Buffer.from(secret.value, "utf8")
    if (value.length < KNOWN_MIN_BYTES || seen.has(secret.value)) continue
    seen.add(secret.value)
    longest = Math.max(longest, value.length)
    for (const { encoding, bytes } of spellings(secret.value, value)) {
      const folded = foldBytes(FOLDED, bytes)
      if (isLooselyFound(folded)) loose.push({ bytes: folded, secret, encoding })
      else if (bytes.length >= KNOWN_MIN_BYTES)
        strict.push({ bytes: foldBytes(CASELESS, bytes), secret, encoding })
    }
  }
  const sets: NeedleSet[] = []
  if (loose.length > 0) sets.push(needleSet(FOLDED, true, loose))
  if (strict.length > 0) sets.push(needleSet(CASELESS, false, strict))
  return { sets, longest }
}

/** A value of digits alone is in every table of numbers once its separators do not count. */
function isLooselyFound(folded: Uint8Array): boolean {
  if (folded.length < KNOWN_MIN_BYTES) return false
  return folded.length >= 16 || folded.some((byte) => byte < 0x30 || byte > 0x39)
}

function spellings(text: string, value: Bytes): { encoding: string; bytes: Bytes }[] {
  const hex = value.toString("hex")
  const wide = Buffer.from(text, "utf16le")
  const list: { encoding: string; bytes: Bytes }[] = [
    { encoding: "", bytes: value },
    { encoding: "hex", bytes: Buffer.from(hex) },
    { encoding: "percent", bytes: Buffer.from(hex.replace(/../g, "%$&")) },
    { encoding: "escapes", bytes: Buffer.from(wide.swap16().toString("hex").replace(/..../g, "\\u$&")) },
    { encoding: "escapes", bytes: Buffer.from(hex.replace(/../g, "\\x$&")) },
    { encoding: "utf-16", bytes: Buffer.from(wide) },
    { encoding: "utf-16", bytes: Buffer.from(wide.swap16()) },
  ]
  for (const core of base64Cores(value)) list.push({ encoding: "base64", bytes: Buffer.from(core) })
  for (const core of base32Cores(value)) list.push({ encoding: "base32", bytes: Buffer.from(core) })
  // Header values are written one byte a character, and so are characters of Latin-1 that come out of escapes.
  if (/[\u0080-\u00ff]/.test(text)) {
    const bytes = [...text].map((c) => Buffer.from(c, c <= "\u00ff" ? "latin1" : "utf8"))
    list.push({ encoding: "latin-1", bytes: Buffer.concat(bytes) })
  }
  return list
}

function foldBytes(fold: Uint8Array, bytes: Uint8Array): Uint8Array {
  return bytes.map((byte) => fold[byte]!).filter((byte) => byte !== DROPPED)
}

function hash(a: number, b: number, c: number): number {
  return ((a << 9) ^ (b << 4) ^ c) & ((1 << HASH_BITS) - 1)
}

function needleSet(fold: Uint8Array, drops: boolean, needles: readonly Needle[]): NeedleSet {
  const last = KNOWN_MIN_BYTES - 1
  const shift = new Uint8Array(1 << HASH_BITS).fill(KNOWN_MIN_BYTES - BLOCK + 1)
  const buckets = new Map<number, Needle[]>()
  const seen = new Set<string>()
  for (const needle of needles) {
    const { bytes } = needle
    const text = Buffer.from(bytes).toString("latin1")
    if (seen.has(text)) continue
    seen.add(text)
    for (let i = BLOCK - 1; i < last; i++) {
      const key = hash(bytes[i - 2]!, bytes[i - 1]!, bytes[i]!)
      shift[key] = Math.min(shift[key]!, last - i)
    }
    const key = hash(bytes[last - 2]!, bytes[last - 1]!, bytes[last]!)
    shift[key] = 0
    const known = buckets.get(key)
    if (known === undefined) buckets.set(key, [needle])
    else known.push(needle)
  }
  return { fold, drops, shift, buckets }
}

/** Folded bytes are written here; grown when needed, and shared, because a scan never waits in between. */
let scratch = new Uint8Array(64 * 1024)

/** Calls `hit` for the first occurrence of every secret and spelling. */
export function findKnown(known: KnownSecrets, bytes: Uint8Array, hit: (hit: KnownHit) => void): void {
  for (const set of known.sets) findIn(set, bytes, hit)
}

function findIn(set: NeedleSet, bytes: Uint8Array, hit: (hit: KnownHit) => void): void {
  const { fold, shift, buckets } = set
  const n = bytes.length
  if (scratch.length < n) scratch = new Uint8Array(n * 2)
  const folded = scratch
  let length = 0
  for (let i = 0; i < n; i++) {
    const byte = fold[bytes[i]!]!
    folded[length] = byte
    // Without a branch: what is dropped is written over by the next byte.
    length += byte === DROPPED ? 0 : 1
  }
  // The agent knows some of the values: a body may hold nothing else.
  const told = new Set<Needle>()
  let at = KNOWN_MIN_BYTES - 1
  while (at < length) {
    const key = hash(folded[at - 2]!, folded[at - 1]!, folded[at]!)
    const step = shift[key]!
    if (step > 0) {
      at += step
      continue
    }
    const start = at - KNOWN_MIN_BYTES + 1
    for (const needle of buckets.get(key)!) {
      if (told.has(needle) || !isAt(folded, start, length, needle.bytes)) continue
      told.add(needle)
      const { secret, encoding } = needle
      const from = unfolded(set, bytes, start)
      const to = unfolded(set, bytes, start + needle.bytes.length - 1) + 1
      hit({ secret, encoding, start: from, end: to })
    }
    at++
  }
}

function isAt(folded: Uint8Array, start: number, length: number, needle: Uint8Array): boolean {
  if (start + needle.length > length) return false
  for (let i = 0; i < needle.length; i++) if (folded[start + i] !== needle[i]) return false
  return true
}

/** Where the folded byte number `at` stands in the bytes: counted again, because hits are few. */
function unfolded(set: NeedleSet, bytes: Uint8Array, at: number): number {
  if (!set.drops) return at
  let left = at
  for (let i = 0; i < bytes.length; i++) {
    if (set.fold[bytes[i]!] === DROPPED) continue
    if (left === 0) return i
    left--
  }
  return bytes.length
}
