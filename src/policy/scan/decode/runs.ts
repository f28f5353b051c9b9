/** Pieces of bytes that may be base64, hexadecimal or base32: long enough, of the alphabet, over line breaks. */

/** Fewest characters of a piece: 16 bytes in base64, the shortest that a pattern could still be found in */
export const RUN_MIN = 22

/** Letters, digits, `+/-_`: base64 and base64url, which hold the alphabets of the others */
const ALPHABET = new Uint8Array(256)
for (const byte of Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")) {
  ALPHABET[byte] = 1
}

/** Most blanks that begin a line inside of a piece: indented, as in YAML. */
const INDENT_MAX = 64

/** Calls `piece` with start and end of each; between them stand characters of the alphabet, line breaks and blanks. */
export function findRuns(bytes: Uint8Array, piece: (start: number, end: number) => void): void {
  const n = bytes.length
  // One look every RUN_MIN bytes is enough to meet each piece; words are left at their last letter.
  let at = RUN_MIN - 1
  let clear = 0
  while (at < n) {
    if (ALPHABET[bytes[at]!] === 0) {
      clear = at + 1
      at += RUN_MIN
      continue
    }
    let start = at
    while (start > clear && ALPHABET[bytes[start - 1]!] === 1) start--
    let end = at + 1
    const enough = start + RUN_MIN
    while (end < n && ALPHABET[bytes[end]!] === 1) end++
    if (end >= enough) {
      end = overLines(bytes, end)
      piece(start, end)
    }
    clear = end
    at = end + RUN_MIN
  }
}

/** Where a piece ends that goes on in the next lines. */
function overLines(bytes: Uint8Array, from: number): number {
  const n = bytes.length
  let end = from
  for (;;) {
    if (bytes[end] !== 10 && bytes[end] !== 13) return end
    let next = end + 1
    while (next < n && next - end < INDENT_MAX && isBlank(bytes[next]!)) next++
    let to = next
    while (to < n && ALPHABET[bytes[to]!] === 1) to++
    if (to === next) return end
    end = to
    if (to - next < RUN_MIN) return end
  }
}

function isBlank(byte: number): boolean {
  return byte === 10 || byte === 13 || byte === 32 || byte === 9
}
