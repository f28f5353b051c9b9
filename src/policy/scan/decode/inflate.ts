/**
 * DEFLATE (RFC 1951) by hand: the runtime's own decoder gives nothing at all when a stream is cut off, damaged or too
 * large, and whoever receives it may be less strict. This one gives what it has.
 */

/** How a stream ended: whole, cut off by the end of the bytes, no DEFLATE from some place on, larger than allowed. */
export type InflateEnd = "whole" | "truncated" | "corrupt" | "full"

export interface Inflated {
  /** What came out, as far as it went */
  readonly bytes: Uint8Array
  readonly end: InflateEnd
  /** Where the stream ended in the input, in bytes */
  readonly next: number
}

/** Codes by length, as RFC 1951 section 3.2.2 numbers them: symbols in order, and how many there are of each length. */
interface Codes {
  /** How many codes have each length, up to 15 bits */
  readonly counts: Uint16Array
  /** Symbols in the order of their codes */
  readonly symbols: Uint16Array
  /** Symbol and length by the next FAST_BITS bits of input: `symbol << 4 | length`; 0 for longer codes */
  readonly fast: Uint16Array
}

const FAST_BITS = 9
const BITS_MAX = 15
const END_OF_BLOCK = 256
const LENGTH_BASE = Uint16Array.of(
  ...[3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131],
  ...[163, 195, 227, 258],
)
const LENGTH_EXTRA = Uint8Array.of(
  ...[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0],
)
const DISTANCE_BASE = Uint16Array.of(
  ...[1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073],
  ...[4097, 6145, 8193, 12289, 16385, 24577],
)
const DISTANCE_EXTRA = Uint8Array.of(
  ...[0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13],
)
/** Order in which a dynamic block gives the lengths of its code lengths' codes. */
const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

class Stop {
  readonly end: InflateEnd
  constructor(end: InflateEnd) {
    this.end = end
  }
}
const TRUNCATED = new Stop("truncated")
const CORRUPT = new Stop("corrupt")
const FULL = new Stop("full")

/** Decodes the stream that begins at `from`, up to `most` bytes of output. */
export function inflate(input: Uint8Array, from: number, to: number, most: number): Inflated {
  const stream = new Stream(input, from, to, most)
  let end: InflateEnd = "whole"
  try {
    while (stream.block());
  } catch (stop) {
    if (!(stop instanceof Stop)) throw stop
    end = stop.end
  }
  return { bytes: stream.out.subarray(0, stream.length), end, next: Math.min(to, stream.next) }
}

let fixed: { literals: Codes; distances: Codes } | undefined

class Stream {
  out: Uint8Array
  length = 0
  readonly #in: Uint8Array
  readonly #to: number
  readonly #most: number
  #at: number
  #held = 0
  #bits = 0

  constructor(input: Uint8Array, from: number, to: number, most: number) {
    this.#in = input
    this.#at = from
    this.#to = to
    this.#most = most
    // Most attempts are chance and end at once.
    this.out = new Uint8Array(Math.min(most, 1024))
  }

  /** First byte that no bit was taken of. */
  get next(): number {
    return this.#at - (this.#bits >> 3)
  }

  /** Decodes one block; false after the last. */
  block(): boolean {
    const last = this.#take(1)
    const type = this.#take(2)
    if (type === 0) this.#stored()
    else if (type === 1) {
      fixed ??= fixedCodes()
      this.#coded(fixed.literals, fixed.distances)
    } else if (type === 2) this.#dynamic()
    else throw CORRUPT
    return last === 0
  }

  #take(count: number): number {
    while (this.#bits < count) {
      if (this.#at >= this.#to) throw TRUNCATED
      this.#held |= this.#in[this.#at++]! << this.#bits
      this.#bits += 8
    }
    const value = this.#held & ((1 << count) - 1)
    this.#held >>>= count
    this.#bits -= count
    return value
  }

  #grow(least: number): void {
    if (least > this.#most) throw FULL
    const grown = new Uint8Array(Math.min(this.#most, Math.max(least, this.out.length * 2)))
    grown.set(this.out.subarray(0, this.length))
    this.out = grown
  }

  #stored(): void {
    this.#take(this.#bits & 7)
    const length = this.#take(16)
    // 32 bits do not fit the held ones in one go.
    if ((this.#take(16) ^ 0xffff) !== length) throw CORRUPT
    while (this.#bits > 0) {
      this.#bits -= 8
      this.#at--
    }
    this.#held = 0
    const there = Math.min(length, this.#to - this.#at)
    const room = Math.min(there, this.#most - this.length)
    if (this.length + room > this.out.length) this.#grow(this.length + room)
    this.out.set(this.#in.subarray(this.#at, this.#at + room), this.length)
    this.length += room
    this.#at += room
    if (room < there) throw FULL
    if (there < length) throw TRUNCATED
  }

  #dynamic(): void {
    const literals = this.#take(5) + 257
    const distances = this.#take(5) + 1
    const count = this.#take(4) + 4
    if (literals > 286 || distances > 30) throw CORRUPT
    const lengths = new Uint8Array(19)
    for (let i = 0; i < count; i++) lengths[LENGTH_ORDER[i]!] = this.#take(3)
    const lengthCodes = makeCodes(lengths)
    const all = new Uint8Array(literals + distances)
    for (let i = 0; i < all.length; ) {
      const symbol = this.#symbol(lengthCodes)
      if (symbol < 16) {
        all[i++] = symbol
        continue
      }
      if (symbol === 16 && i === 0) throw CORRUPT
      const value = symbol === 16 ? all[i - 1]! : 0
      const times = symbol === 16 ? 3 + this.#take(2) : symbol === 17 ? 3 + this.#take(3) : 11 + this.#take(7)
      if (i + times > all.length) throw CORRUPT
      all.fill(value, i, i + times)
      i += times
    }
    if (all[END_OF_BLOCK] === 0) throw CORRUPT
    this.#coded(makeCodes(all.subarray(0, literals)), makeCodes(all.subarray(literals)))
  }

  #coded(literals: Codes, distances: Codes): void {
    for (;;) {
      const symbol = this.#symbol(literals)
      if (symbol < END_OF_BLOCK) {
        if (this.length === this.out.length) this.#grow(this.length + 1)
        this.out[this.length++] = symbol
        continue
      }
      if (symbol === END_OF_BLOCK) return
      if (symbol > 285) throw CORRUPT
      const size = LENGTH_BASE[symbol - 257]! + this.#take(LENGTH_EXTRA[symbol - 257]!)
      const code = this.#symbol(distances)
      if (code > 29) throw CORRUPT
      const distance = DISTANCE_BASE[code]! + this.#take(DISTANCE_EXTRA[code]!)
      if (distance > this.length) throw CORRUPT
      if (this.length + size > this.out.length) this.#grow(this.length + size)
      const { out } = this
      for (let to = this.length, end = to + size; to < end; to++) out[to] = out[to - distance]!
      this.length += size
    }
  }

  #symbol(codes: Codes): number {
    while (this.#bits < BITS_MAX && this.#at < this.#to) {
      this.#held |= this.#in[this.#at++]! << this.#bits
      this.#bits += 8
    }
    const entry = codes.fast[this.#held & ((1 << FAST_BITS) - 1)]!
    if (entry !== 0) {
      const length = entry & 15
      if (length > this.#bits) throw TRUNCATED
      this.#held >>>= length
      this.#bits -= length
      return entry >> 4
    }
    let code = 0
    let first = 0
    let index = 0
    for (let length = 1; length <= BITS_MAX; length++) {
      if (length > this.#bits) throw TRUNCATED
      code |= (this.#held >> (length - 1)) & 1
      const count = codes.counts[length]!
      if (code - count < first) {
        this.#held >>>= length
        this.#bits -= length
        return codes.symbols[index + (code - first)]!
      }
      index += count
      first = (first + count) << 1
      code <<= 1
    }
    throw CORRUPT
  }
}

function makeCodes(lengths: Uint8Array): Codes {
  const counts = new Uint16Array(BITS_MAX + 1)
  for (const length of lengths) counts[length]!++
  counts[0] = 0
  let left = 1
  const offsets = new Uint16Array(BITS_MAX + 2)
  for (let length = 1; length <= BITS_MAX; length++) {
    left = left * 2 - counts[length]!
    if (left < 0) throw CORRUPT
    offsets[length + 1] = offsets[length]! + counts[length]!
  }
  const symbols = new Uint16Array(lengths.length)
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = lengths[symbol]!
    if (length > 0) symbols[offsets[length]!++] = symbol
  }
  const fast = new Uint16Array(1 << FAST_BITS)
  let code = 0
  let index = 0
  for (let length = 1; length <= FAST_BITS; length++) {
    for (let i = 0; i < counts[length]!; i++, code++, index++) {
      const entry = (symbols[index]! << 4) | length
      for (let at = reversed(code, length); at < fast.length; at += 1 << length) fast[at] = entry
    }
    code <<= 1
  }
  return { counts, symbols, fast }
}

/** Codes are packed with their first bit lowest. */
function reversed(code: number, length: number): number {
  let out = 0
  for (let i = 0; i < length; i++) if ((code & (1 << i)) !== 0) out |= 1 << (length - 1 - i)
  return out
}

function fixedCodes(): { literals: Codes; distances: Codes } {
  const lengths = new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280)
  return { literals: makeCodes(lengths), distances: makeCodes(new Uint8Array(30).fill(5)) }
}
