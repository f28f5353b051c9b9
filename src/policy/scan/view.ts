/**
 * Bytes as one decoder made them of others. Decoders keep no whole copy: they take the pieces that change, each with
 * its surroundings, so a view is a row of segments.
 */

/** Stands between segments: nothing that is looked for spans it. */
const SEPARATOR = 0

export interface View {
  readonly bytes: Uint8Array
  /** Decodings on the way here, outermost first */
  readonly decoded: readonly string[]
  readonly parent?: View
  /** Where each segment begins here */
  readonly starts: readonly number[]
  /** Where each segment's source begins in the parent */
  readonly from: readonly number[]
  /** Where each segment's source ends in the parent */
  readonly to: readonly number[]
}

export function rootView(bytes: Uint8Array): View {
  return { bytes, decoded: [], starts: [0], from: [0], to: [bytes.length] }
}

/** Where a byte of the view comes from in what was sent, in bytes. */
export function sourceOf(view: View, at: number): number {
  let here = at
  for (let one = view; one.parent !== undefined; one = one.parent) here = one.from[segmentAt(one, here)]!
  return here
}

/** Whether what ends at `at` is cut off by the end of the window, so that more of it may come. */
export function reachesEnd(view: View, at: number): boolean {
  let here = at
  for (let one = view; ; one = one.parent) {
    if (one.parent === undefined) return here >= one.bytes.length - END_SLACK
    const segment = segmentAt(one, Math.max(0, here - 1))
    if (here < segmentEnd(one, segment) - END_SLACK) return false
    here = one.to[segment]!
  }
}

/** A group of base64 or an escape that is cut off leaves its last bytes undecoded. */
const END_SLACK = 12

/** Number of the segment that holds the byte at `at`. */
export function segmentAt(view: View, at: number): number {
  let low = 0
  let high = view.starts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (view.starts[middle]! <= at) low = middle
    else high = middle - 1
  }
  return low
}

/** Where a segment ends in the view, without its separator. */
export function segmentEnd(view: View, segment: number): number {
  const next = view.starts[segment + 1]
  return next === undefined ? view.bytes.length : next - 1
}

/** Writes a view, segment by segment. */
export class ViewWriter {
  bytes: Uint8Array
  length = 0
  readonly #starts: number[] = []
  readonly #from: number[] = []
  readonly #to: number[] = []

  /** `room`: bytes expected; more is made when they do not do. */
  constructor(room: number) {
    this.bytes = new Uint8Array(Math.max(64, room))
  }

  /** Begins a segment whose source begins at `from` in the parent. */
  open(from: number): void {
    if (this.#starts.length > 0) this.put(SEPARATOR)
    this.#starts.push(this.length)
    this.#from.push(from)
  }

  /** Ends it; its source ends at `to`. */
  close(to: number): void {
    this.#to.push(to)
  }

  put(byte: number): void {
    if (this.length === this.bytes.length) this.room(1)
    this.bytes[this.length++] = byte
  }

  copy(bytes: Uint8Array, from: number, to: number): void {
    if (to <= from) return
    this.room(to - from)
    // A call into the runtime costs more than a few bytes.
    if (to - from < 32) {
      for (let i = from, at = this.length; i < to; i++) this.bytes[at++] = bytes[i]!
    } else {
      this.bytes.set(bytes.subarray(from, to), this.length)
    }
    this.length += to - from
  }

  /** Makes sure that `more` bytes fit. */
  room(more: number): void {
    if (this.length + more <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
  }

  /** The finished view; undefined when nothing was written. */
  finish(parent: View, name: string): View | undefined {
    if (this.#starts.length === 0) return undefined
    return {
      bytes: this.bytes.subarray(0, this.length),
      decoded: [...parent.decoded, name],
      parent,
      starts: this.#starts,
      from: this.#from,
      to: this.#to,
    }
  }
}
