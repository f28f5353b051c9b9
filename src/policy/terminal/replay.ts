/** What whoever joins a running program has missed: the end of its output, in a form that can be shown again. */
import { admits } from "./admission.ts"
import { join } from "./join.ts"
import { TerminalModes } from "./modes.ts"
import { TerminalParser, type TokenKind } from "./parser.ts"
import type { TerminalPermission } from "./permission.ts"
import { queriesIn } from "./queries.ts"

/** Parts the buffer is let go of in: the oldest goes when it is full, so at least 15 of 16 parts are always kept. */
const PARTS = 16
/** Least size of a part, in bytes: below it no sequence of any use would fit. */
const PART_MIN_BYTES = 64
const BEL = 0x07

/** A title that is set again is the same title. What was copied or announced happens once. */
const REPEATABLE: ReadonlySet<TerminalPermission> = new Set(["title"])

interface Part {
  /** Bytes that bring a fresh terminal to where the program had it when this part began */
  modes: Uint8Array
  /** Whole characters and sequences */
  bytes: Uint8Array
  /** Bytes in use */
  length: number
}

/**
 * The last `maxBytes` of a program's output, at least 15/16 of them, without what must not happen a second time: a
 * question would be answered once more, and the program would take the answer for input; the bell would ring for all
 * that happened since. What never reaches a terminal takes no room either.
 */
export class ScreenBuffer {
  readonly #partBytes: number
  readonly #modes = new TerminalModes()
  readonly #parser = new TerminalParser((kind, bytes, from, to) => this.#token(kind, bytes, from, to))
  #parts: Part[] = []

  /** Throws RangeError when `maxBytes`, in bytes, is too small to hold anything. */
  constructor(maxBytes: number) {
    this.#partBytes = Math.floor(maxBytes / PARTS)
    if (!(this.#partBytes >= PART_MIN_BYTES)) {
      throw new RangeError(`A screen buffer needs ${PARTS * PART_MIN_BYTES} bytes, not ${maxBytes}`)
    }
  }

  push(chunk: Uint8Array): void {
    this.#parser.push(chunk)
  }

  /**
   * Bytes for a terminal in its own state: the modes at the time the kept output begins, that output, and what has
   * come of a sequence that has not ended, so that the next chunk can follow at once.
   */
  replay(): Uint8Array {
    const kept = this.#parts.map(({ bytes, length }) => bytes.subarray(0, length))
    const modes = this.#parts[0]?.modes ?? new Uint8Array()
    return join([modes, ...kept, this.#parser.partial()])
  }

  /** What has come of a sequence that has not ended: the end of what `replay` gives. */
  partial(): Uint8Array {
    return this.#parser.partial()
  }

  #token(kind: TokenKind, bytes: Uint8Array, from: number, to: number): void {
    if (kind === "text") {
      this.#text(bytes, from, to)
      return
    }
    if (!admits(kind, bytes, from, to, REPEATABLE)) return
    const once = kind === "control" ? bytes[from] === BEL : queriesIn(kind, bytes, from, to).length > 0
    if (once || to - from > this.#partBytes) return
    this.#append(bytes, from, to)
    this.#modes.apply(kind, bytes, from, to)
  }

  /** Text is cut where a part is full, between characters. */
  #text(bytes: Uint8Array, from: number, to: number): void {
    let at = from
    while (at < to) {
      let end = Math.min(to, at + this.#room())
      while (end > at && end < to && (bytes[end]! & 0xc0) === 0x80) end--
      if (end === at) this.#open()
      else this.#append(bytes, at, end)
      at = end
    }
  }

  #append(bytes: Uint8Array, from: number, to: number): void {
    if (to - from > this.#room()) this.#open()
    const part = this.#parts.at(-1)!
    part.bytes.set(bytes.subarray(from, to), part.length)
    part.length += to - from
  }

  #room(): number {
    const part = this.#parts.at(-1)
    return part === undefined ? 0 : this.#partBytes - part.length
  }

  #open(): void {
    const oldest = this.#parts.length === PARTS ? this.#parts.shift() : undefined
    const bytes = oldest?.bytes ?? new Uint8Array(this.#partBytes)
    this.#parts.push({ modes: this.#modes.set(), bytes, length: 0 })
  }
}
