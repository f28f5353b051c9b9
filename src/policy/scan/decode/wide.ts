/** UTF-16 and UTF-32, in both byte orders: of text in ASCII, every second byte is zero, or three of four. */
import { type View, ViewWriter } from "../view.ts"

/** Zeros at every second place in a row that make a text of it: a word of four letters */
const ZEROS_MIN = 4
/** Characters beyond Latin-1 in a row that do not end a text */
const GAP_MAX = 16

export function decodeWide(view: View): View | undefined {
  const { bytes } = view
  const n = bytes.length
  let zero = bytes.indexOf(0)
  if (zero < 0) return undefined
  const out = new ViewWriter(0)
  while (zero >= 0) {
    const last = lastZero(bytes, zero)
    if (last < zero + 2 * (ZEROS_MIN - 1)) {
      zero = bytes.indexOf(0, zero + 1)
      continue
    }
    const from = Math.max(0, zero - 1)
    const to = Math.min(n, last + 2)
    out.open(from)
    out.room((to - from) >> 1)
    // The other bytes of the pairs; those of UTF-32 that are zero too go.
    for (let i = from; i < to; i++) if (((i - zero) & 1) === 1 && bytes[i] !== 0) out.put(bytes[i]!)
    out.close(to)
    zero = bytes.indexOf(0, to)
  }
  return out.finish(view, "utf-16")
}

/** The last zero at an even distance, with at most GAP_MAX others between two of them. */
function lastZero(bytes: Uint8Array, from: number): number {
  let last = from
  let zeros = 1
  for (let i = from + 2; i < bytes.length && (i - last) >> 1 <= GAP_MAX; i += 2) {
    if (bytes[i] !== 0) {
      if (zeros < ZEROS_MIN) return last
      continue
    }
    last = i
    zeros++
  }
  return last
}
