/**
 * Takes injected credentials out of what comes back from an upstream that echoes them: a streaming byte replacer that
 * keeps lengths, so that Content-Length and frame headers stay true.
 */
import { spellings } from "./needles.ts"

/** One stream's replacer. */
export interface Scrubber {
  /** Takes the next bytes and returns what is safe to pass on; may be a view of `chunk`, which it never changes */
  push(chunk: Uint8Array): Uint8Array
  /** Returns what was held back; the scrubber is then ready for another stream */
  end(): Uint8Array
  /** Replaces in a complete text: a header value, a reason phrase */
  text(s: string): string
  /** Occurrences replaced so far */
  readonly hits: number
}

/** Everything that is looked for, compiled once per set of secrets and shared by any number of streams. */
export interface Needles {
  /** Byte strings to replace */
  readonly needles: readonly Uint8Array[]
  /** Length of the shortest, in bytes; 0 without needles */
  readonly shortest: number
  /** How far to move on by hash of two bytes (Wu and Manber 1994), in bytes */
  readonly shift: Uint16Array
  /** Needles to compare where the shift is 0, by hash of two bytes */
  readonly buckets: ReadonlyMap<number, readonly Uint8Array[]>
  /** Needles by first byte */
  readonly byFirst: readonly (readonly Uint8Array[] | undefined)[]
  /** Byte that replaces, one that occurs in no secret where possible */
  readonly fill: number
}

const EMPTY = new Uint8Array(0)
/** Size of the shift table, a power of two: two bytes of text hash to 12 bits, 4,096 entries fit the first-level cache. */
const HASH_BITS = 12
const HASH_MASK = (1 << HASH_BITS) - 1

function hash(a: number, b: number): number {
  return ((a << 5) ^ b) & HASH_MASK
}

/** Characters that may stand in a JSON string, a header and a page without ending it. */
const FILLS = "*#~_-.:=!@$^|xX0"

/** Compiles secrets. Those under 8 bytes are not looked for: they would match ordinary traffic. */
export function compileSecrets(secrets: readonly string[]): Needles {
  const needles: Uint8Array[] = []
  const seen = new Set<string>()
  for (const needle of secrets.flatMap(spellings)) {
    const key = Buffer.from(needle).toString("latin1")
    if (!seen.has(key)) needles.push(needle)
    seen.add(key)
  }
  const shortest = needles.reduce((least, needle) => Math.min(least, needle.length), needles[0]?.length ?? 0)
  const shift = new Uint16Array(1 << HASH_BITS).fill(Math.min(Math.max(shortest - 1, 1), 0xffff))
  const buckets = new Map<number, Uint8Array[]>()
  const byFirst: (Uint8Array[] | undefined)[] = new Array(256).fill(undefined)
  for (const needle of needles) {
    for (let i = 1; i < shortest; i++) {
      const key = hash(needle[i - 1] as number, needle[i] as number)
      shift[key] = Math.min(shift[key] as number, shortest - 1 - i)
    }
    const key = hash(needle[shortest - 2] as number, needle[shortest - 1] as number)
    buckets.set(key, [...(buckets.get(key) ?? []), needle])
    const first = needle[0] as number
    byFirst[first] = [...(byFirst[first] ?? []), needle]
  }
  const used = secrets.join("")
  const fill = [...FILLS].find((c) => !used.includes(c)) ?? "*"
  return { needles, shortest, shift, buckets, byFirst, fill: fill.charCodeAt(0) }
}

/** Compiled sets by the array they were made from, for callers that keep one array per credential. */
const compiled = new WeakMap<readonly string[], Needles>()

/** Makes a replacer for one stream, from secrets or from a compiled set. */
export function createScrubber(secrets: readonly string[] | Needles): Scrubber {
  let needles: Needles
  if ("needles" in secrets) {
    needles = secrets
  } else {
    needles = compiled.get(secrets) ?? compileSecrets(secrets)
    compiled.set(secrets, needles)
  }
  return needles.needles.length === 0 ? IDENTITY : new ByteScrubber(needles)
}

const IDENTITY: Scrubber = {
  push: (chunk) => chunk,
  end: () => EMPTY,
  text: (s) => s,
  hits: 0,
}

class ByteScrubber implements Scrubber {
  hits = 0
  readonly #set: Needles
  /** Bytes as they came, whose fate the next ones decide: they begin a needle */
  #held: Uint8Array = EMPTY
  /** How many of the first held bytes belong to an occurrence that began before them */
  #heldBlank = 0

  constructor(set: Needles) {
    this.#set = set
  }

  push(chunk: Uint8Array): Uint8Array {
    if (chunk.length === 0) return chunk
    const before = this.#held.length
    let bytes = chunk
    if (before > 0) {
      bytes = new Uint8Array(before + chunk.length)
      bytes.set(this.#held, 0)
      bytes.set(chunk, before)
    }
    const { ranges, hits, openFrom } = scan(this.#set, bytes, before)
    this.hits += hits
    let blankTo = Math.max(openFrom, this.#heldBlank)
    for (let i = 0; i < ranges.length; i += 2) {
      // An occurrence that lies wholly in what is held now is found again with the next bytes.
      if ((ranges[i] as number) < openFrom) blankTo = Math.max(blankTo, ranges[i + 1] as number)
    }
    if (this.#heldBlank > 0) ranges.push(0, this.#heldBlank)
    const out = blanked(this.#set.fill, bytes, ranges, openFrom)
    this.#held = openFrom === bytes.length ? EMPTY : bytes.slice(openFrom)
    this.#heldBlank = blankTo - openFrom
    return out
  }

  end(): Uint8Array {
    const bytes = this.#held
    if (bytes.length === 0) return EMPTY
    const { ranges } = scan(this.#set, bytes, bytes.length)
    if (this.#heldBlank > 0) ranges.push(0, this.#heldBlank)
    const out = blanked(this.#set.fill, bytes, ranges, bytes.length)
    this.#held = EMPTY
    this.#heldBlank = 0
    return out
  }

  text(s: string): string {
    if (s.length < this.#set.shortest) return s
    let out = s
    // Header values come as one character per byte; a text that was decoded as UTF-8 is looked at as such too.
    for (const encoding of ["latin1", "utf8"] as const) {
      if (encoding === "latin1" ? /[^\u0000-\u00ff]/.test(out) : !/[^\u0000-\u007f]/.test(out)) continue
      const bytes = Buffer.from(out, encoding)
      const { ranges, hits } = scan(this.#set, bytes, 0)
      this.hits += hits
      if (ranges.length > 0) out = asText(blanked(this.#set.fill, bytes, ranges, bytes.length), encoding)
    }
    return out
  }
}

/** The bytes up to `cut`, with the ranges filled in a copy; a view when there is nothing to fill. */
function blanked(fill: number, bytes: Uint8Array, ranges: readonly number[], cut: number): Uint8Array {
  if (ranges.length === 0) return cut === bytes.length ? bytes : bytes.subarray(0, cut)
  const out = bytes.slice(0, cut)
  for (let i = 0; i < ranges.length; i += 2) out.fill(fill, ranges[i], Math.min(ranges[i + 1] as number, cut))
  return out
}

function asText(bytes: Uint8Array, encoding: "latin1" | "utf8"): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString(encoding)
}

interface Found {
  /** Start and end of each occurrence, in bytes, alternating */
  ranges: number[]
  /** Occurrences that end beyond the bytes looked at before */
  hits: number
  /** First byte that may begin an occurrence which the next bytes complete; the length when there is none */
  openFrom: number
}

/** Finds every occurrence of every needle, and the earliest place at which one is cut off by the end. */
function scan(set: Needles, bytes: Uint8Array, before: number): Found {
  const { shift, shortest, buckets } = set
  const n = bytes.length
  const ranges: number[] = []
  let hits = 0
  let openFrom = n
  let at = shortest - 1
  while (at < n) {
    const key = hash(bytes[at - 1] as number, bytes[at] as number)
    const step = shift[key] as number
    if (step > 0) {
      at += step
      continue
    }
    const start = at - shortest + 1
    for (const needle of buckets.get(key) as readonly Uint8Array[]) {
      const end = compare(bytes, start, needle)
      if (end === start + needle.length) {
        ranges.push(start, end)
        if (end > before) hits++
      } else if (end === n && start < openFrom) {
        openFrom = start
      }
    }
    at++
  }
  if (openFrom === n) openFrom = openTail(set, bytes)
  return { ranges, hits, openFrom }
}

/** How far the bytes from `start` agree with a needle: the place after the last equal byte. */
function compare(bytes: Uint8Array, start: number, needle: Uint8Array): number {
  const length = Math.min(needle.length, bytes.length - start)
  let i = 0
  while (i < length && bytes[start + i] === needle[i]) i++
  return start + i
}

/** Looks for a needle's beginning in the last bytes, too few for the shift table. */
function openTail(set: Needles, bytes: Uint8Array): number {
  const n = bytes.length
  for (let start = Math.max(0, n - set.shortest + 1); start < n; start++) {
    const needles = set.byFirst[bytes[start] as number]
    if (needles === undefined) continue
    for (const needle of needles) if (compare(bytes, start, needle) === n) return start
  }
  return n
}
