/** What base64 and base32 make of bytes that stand somewhere inside others: the characters that they alone decide. */

export type Bytes = Buffer<ArrayBufferLike>

/** At each of the three offsets, in both alphabets. */
export function base64Cores(bytes: Bytes): string[] {
  const cores: string[] = []
  for (let offset = 0; offset < 3; offset++) {
    const shifted = Buffer.concat([Buffer.alloc(offset), bytes])
    const from = Math.ceil((offset * 8) / 6)
    const to = Math.floor((shifted.length * 8) / 6)
    cores.push(shifted.toString("base64").slice(from, to), shifted.toString("base64url").slice(from, to))
  }
  return cores
}

/** RFC 4648 section 6 */
export const BASE32 = "abcdefghijklmnopqrstuvwxyz234567"

/** At each of the five offsets, in lower case. */
export function base32Cores(bytes: Bytes): string[] {
  const cores: string[] = []
  for (let offset = 0; offset < 5; offset++) {
    const shifted = Buffer.concat([Buffer.alloc(offset), bytes])
    const to = Math.floor((shifted.length * 8) / 5)
    let text = ""
    for (let i = Math.ceil((offset * 8) / 5); i < to; i++) text += BASE32[fiveBits(shifted, i * 5)]
    cores.push(text)
  }
  return cores
}

function fiveBits(bytes: Uint8Array, bit: number): number {
  const at = bit >> 3
  const pair = (bytes[at]! << 8) | (bytes[at + 1] ?? 0)
  return (pair >> (11 - (bit & 7))) & 31
}
