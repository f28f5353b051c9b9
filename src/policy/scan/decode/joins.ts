/**
 * Strings put together again that were taken apart: `"ghp_abc" + "def"`, elements of an array, literals one below the
 * other. Quotes, and what stands between two strings, are left out.
 */
import { type View, ViewWriter } from "../view.ts"

const QUOTES = new Uint8Array(256)
for (const byte of Buffer.from("\"'`")) QUOTES[byte] = 1
// A zero byte stands between segments of the view: no string spans it.
const ENDS = Uint8Array.from(QUOTES)
ENDS[0] = 1
/** What may stand between two strings that belong together: operators of concatenation, commas, blanks, parentheses */
const BETWEEN = new Uint8Array(256)
for (const byte of Buffer.from(" \t\r\n+,.&\\()")) BETWEEN[byte] = 1
/** Characters that secrets have: a string that ends in another is no half of one */
const SECRET = new Uint8Array(256)
for (const byte of Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=.:@~")) {
  SECRET[byte] = 1
}

/** Bytes between two strings: a line break and its indentation */
const BETWEEN_MAX = 96
/** Bytes of a string that are taken before the first join and after the last */
const STRING_MAX = 512

export function joinStrings(view: View): View | undefined {
  const { bytes } = view
  const n = bytes.length
  const out = new ViewWriter(0)
  let open = false
  /** In an open segment: where the string goes on */
  let from = 0
  let floor = 0
  for (let i = 0; i < n; i++) {
    if (QUOTES[bytes[i]!] === 0) continue
    const next = i > 0 && SECRET[bytes[i - 1]!] === 1 ? nextString(bytes, i) : -1
    if (next >= 0) {
      if (!open) {
        from = stringStart(bytes, Math.max(floor, i - STRING_MAX), i)
        out.open(from)
        open = true
      }
      out.copy(bytes, from, i)
      from = next
      i = next - 1
    } else if (open) {
      const to = Math.min(i, from + STRING_MAX)
      out.copy(bytes, from, to)
      out.close(to)
      floor = i
      open = false
    }
  }
  if (open) {
    const to = Math.min(n, from + STRING_MAX)
    out.copy(bytes, from, to)
    out.close(to)
  }
  return out.finish(view, "joined")
}

/** First byte of the string that follows the one that ends at `quote`; -1 when none does. */
function nextString(bytes: Uint8Array, quote: number): number {
  const most = Math.min(bytes.length, quote + BETWEEN_MAX)
  let at = quote + 1
  while (at < most && BETWEEN[bytes[at]!] === 1) at++
  if (at >= most || QUOTES[bytes[at]!] === 0) return -1
  return at + 1 < bytes.length && SECRET[bytes[at + 1]!] === 1 ? at + 1 : -1
}

function stringStart(bytes: Uint8Array, least: number, end: number): number {
  let start = end
  while (start > least && ENDS[bytes[start - 1]!] === 0) start--
  return start
}
