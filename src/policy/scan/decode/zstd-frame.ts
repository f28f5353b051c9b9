/** Where a Zstandard frame ends (RFC 8878 section 3.1.1), told by its headers alone. */

export const ZSTD_MAGIC = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd)
const CONTENT_SIZE_BYTES = [0, 2, 4, 8]
const DICTIONARY_BYTES = [0, 1, 2, 4]

/** First byte after the frame that begins at `from`; -1 when it goes on beyond `to`; -2 when it is none. */
export function zstdFrameEnd(bytes: Uint8Array, from: number, to: number): number {
  for (let i = 0; i < ZSTD_MAGIC.length; i++) if (bytes[from + i] !== ZSTD_MAGIC[i]) return -2
  const descriptor = bytes[from + 4]
  if (descriptor === undefined || from + 5 > to) return -1
  const single = (descriptor & 0x20) !== 0
  if ((descriptor & 0x08) !== 0) return -2
  const sizeFlag = descriptor >> 6
  const sizeBytes = sizeFlag === 0 && single ? 1 : CONTENT_SIZE_BYTES[sizeFlag]!
  let at = from + 5 + (single ? 0 : 1) + DICTIONARY_BYTES[descriptor & 3]! + sizeBytes
  for (;;) {
    if (at + 3 > to) return -1
    const header = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
    const type = (header >> 1) & 3
    if (type === 3) return -2
    at += 3 + (type === 1 ? 1 : header >> 3)
    if ((header & 1) === 0) continue
    if ((descriptor & 0x04) !== 0) at += 4
    return at <= to ? at : -1
  }
}
