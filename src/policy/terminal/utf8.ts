/** Where one UTF-8 character ends (Unicode 16, table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF). */

/** The bytes at `at` are no character. */
export const INVALID = 0
/** The bytes from `at` to `end` could begin a character. */
export const INCOMPLETE = -1

/** Bytes of the character at `at`, which is not ASCII; `INVALID` or `INCOMPLETE` when there is none. */
export function characterLength(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at]!
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
  if (length === 0) return INVALID
  if (at + 1 >= end) return INCOMPLETE
  const second = bytes[at + 1]!
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  if (second < low || second > high) return INVALID
  for (let i = at + 2; i < at + length; i++) {
    if (i >= end) return INCOMPLETE
    if ((bytes[i]! & 0xc0) !== 0x80) return INVALID
  }
  return length
}

/** Whether all of the bytes are well-formed UTF-8 without control characters (C0, DEL, C1). */
export function isPlainText(bytes: Uint8Array, from: number, to: number): boolean {
  let i = from
  while (i < to) {
    const byte = bytes[i]!
    if (byte < 0x80) {
      if (byte < 0x20 || byte === 0x7f) return false
      i++
      continue
    }
    const length = characterLength(bytes, i, to)
    if (length <= 0 || (byte === 0xc2 && bytes[i + 1]! < 0xa0)) return false
    i += length
  }
  return true
}
