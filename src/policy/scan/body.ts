/**
 * Scans a body while it streams: each window is looked at whole, and of what has been looked at, the last bytes are held
 * back, for a secret may go on in the next ones.
 */
import { BudgetSpent } from "./budget.ts"
import { Collector } from "./collector.ts"
import { encodingsOf, undoEncodings } from "./decode/content-encoding.ts"
import { type Bound, type Finding, overBudget, type Place } from "./finding.ts"
import { type Sought, walk } from "./walk.ts"

/** What became of the bytes so far. */
export interface Verdict {
  /** Bytes, counted on from those let go before, that were looked at and may go once the findings are answered */
  readonly release: number
  /** What was found since the last verdict */
  readonly findings: readonly Finding[]
  /** Whether the scanner has given up: nothing more is ever released */
  readonly stopped: boolean
}

/** Least bytes held back: four times the longest pattern, so that it may be written in hexadecimal of hexadecimal */
export const HOLD_BACK_MIN = 16 * 1024
/** Bytes that are gathered before they are looked at: each look also covers what is held back, an eighth more */
export const WINDOW = 128 * 1024
/** Bytes looked at in one go: what a look makes of them stays in the caches and is soon let go */
const WINDOW_MAX = 512 * 1024
/** Bytes of a body, or of a part of it, that must be there whole before it can be decoded */
export const HELD_MAX = 8 * 1024 * 1024
/** What such a body may grow to, in bytes: half a second of work at most */
export const DECODED_MAX = 16 * 1024 * 1024

const NOTHING: Verdict = { release: 0, findings: [], stopped: false }

/** Encodings of a multipart's part that hide it from everything here */
const OPAQUE_PART = /^content-encoding:[ \t]*(?!identity|gzip|x-gzip|deflate|zstd)[a-z]/im

export class BodyScan {
  readonly #sought: Sought
  readonly #holdBack: number
  readonly #place: Place
  readonly #collector: Collector
  readonly #encodings: readonly string[]
  readonly #multipart: boolean
  #buffer = new Uint8Array(0)
  #length = 0
  /** Place of the buffer's first byte in the body; everything before was released */
  #base = 0
  #scanAt: number
  #stopped = false
  #unknown = false

  constructor(
    sought: Sought,
    holdBack: number,
    key: string,
    place: Place,
    contentType: string,
    contentEncoding: string,
  ) {
    this.#sought = sought
    this.#holdBack = holdBack
    this.#place = place
    this.#collector = new Collector(key, (offset) => ({ place, offset: this.#base + offset }))
    const encodings = encodingsOf(contentEncoding)
    this.#unknown = encodings === undefined
    this.#encodings = encodings ?? []
    this.#multipart = /^\s*multipart\//i.test(contentType)
    this.#scanAt = holdBack + WINDOW
  }

  /** Takes the next bytes, which it copies. */
  push(chunk: Uint8Array): Verdict {
    if (this.#stopped) return { ...NOTHING, stopped: true }
    // Of an empty body, not even an unknown encoding hides anything.
    if (this.#unknown && chunk.length > 0) return this.#stop("undecodable", [])
    if (this.#encodings.length > 0) {
      if (this.#length + chunk.length > HELD_MAX) return this.#stop("held-bytes", [])
      this.#append(chunk)
      return NOTHING
    }
    this.#collector.budget.earn(chunk.length)
    let release = 0
    let findings: readonly Finding[] = []
    for (let at = 0; at < chunk.length; ) {
      const to = Math.min(chunk.length, at + WINDOW_MAX)
      this.#append(chunk.subarray(at, to))
      at = to
      if (this.#length < this.#scanAt) continue
      const verdict = this.#scan(false)
      release += verdict.release
      findings = findings.length === 0 ? verdict.findings : [...findings, ...verdict.findings]
      if (verdict.stopped) return { release, findings, stopped: true }
    }
    return release === 0 && findings.length === 0 ? NOTHING : { release, findings, stopped: false }
  }

  /** No more bytes come. */
  end(): Verdict {
    if (this.#stopped) return { ...NOTHING, stopped: true }
    if (this.#encodings.length === 0) return this.#scan(true)
    return this.#scanEncoded()
  }

  #append(chunk: Uint8Array): void {
    const length = this.#length + chunk.length
    if (length > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(length, Math.min(this.#buffer.length * 2, HELD_MAX)))
      grown.set(this.#buffer.subarray(0, this.#length))
      this.#buffer = grown
    }
    this.#buffer.set(chunk, this.#length)
    this.#length = length
  }

  #scan(last: boolean): Verdict {
    const window = this.#buffer.subarray(0, this.#length)
    this.#collector.unfinishedFrom = Number.POSITIVE_INFINITY
    this.#collector.isLast = last
    const bound = this.#look(window)
    const findings = this.#collector.take()
    if (bound !== undefined) return this.#stop(bound, findings)
    const safe = last
      ? this.#length
      : Math.max(0, Math.min(this.#length - this.#holdBack, this.#collector.unfinishedFrom))
    const held = this.#length - safe
    if (held > HELD_MAX) return this.#stop("held-bytes", findings)
    this.#buffer.copyWithin(0, safe, this.#length)
    this.#length = held
    this.#base += safe
    // What is held is looked at again: waiting for as much again bounds that to twice the work.
    this.#scanAt = held + Math.max(WINDOW, held)
    return { release: safe, findings, stopped: false }
  }

  #scanEncoded(): Verdict {
    const { budget } = this.#collector
    const body = this.#buffer.subarray(0, this.#length)
    let bound: Bound | undefined
    try {
      const plain = undoEncodings(body, this.#encodings, DECODED_MAX)
      budget.earn(body.length + plain.length)
      bound = this.#look(plain)
    } catch (error) {
      if (!(error instanceof BudgetSpent)) throw error
      bound = error.bound
    }
    const findings = this.#collector
      .take()
      .map((finding) => ({ ...finding, decoded: [...this.#encodings, ...finding.decoded] }))
    if (bound !== undefined) return this.#stop(bound, findings)
    const release = this.#length
    this.#buffer = new Uint8Array(0)
    this.#length = 0
    return { release, findings, stopped: false }
  }

  #look(bytes: Uint8Array): Bound | undefined {
    try {
      walk(this.#sought, bytes, this.#collector)
      if (this.#multipart && hasOpaquePart(bytes)) return "undecodable"
      return undefined
    } catch (error) {
      if (error instanceof BudgetSpent) return error.bound
      throw error
    }
  }

  #stop(bound: Bound, findings: readonly Finding[]): Verdict {
    this.#stopped = true
    this.#buffer = new Uint8Array(0)
    return {
      release: 0,
      findings: [...findings, overBudget(this.#place, bound, this.#base)],
      stopped: true,
    }
  }
}

function hasOpaquePart(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")
  return OPAQUE_PART.test(text)
}
