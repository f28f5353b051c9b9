/**
 * Base64, hexadecimal and base32. A piece is decoded from each of its first characters on that can begin a group, so that
 * a letter put before it hides nothing.
 */
import { BASE32 } from "../spelling.ts"
import { type View, ViewWriter } from "../view.ts"
import { findRuns } from "./runs.ts"

/** Fewest characters in a row: 16 bytes of hexadecimal, 20 of base32 */
const HEX_MIN = 32
const BASE32_MIN = 32

const SKIP = 0xff
const BASE64_VALUES = new Uint8Array(256).fill(SKIP)
const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
for (let i = 0; i < 64; i++) BASE64_VALUES[base64Alphabet.charCodeAt(i)] = i
BASE64_VALUES[0x2d] = 62
BASE64_VALUES[0x5f] = 63

const HEX_VALUES = new Uint8Array(256).fill(SKIP)
for (let i = 0; i < 16; i++) {
  HEX_VALUES[i.toString(16).charCodeAt(0)] = i
  HEX_VALUES[i.toString(16).toUpperCase().charCodeAt(0)] = i
}

const BASE32_VALUES = new Uint8Array(256).fill(SKIP)
for (let i = 0; i < 32; i++) {
  BASE32_VALUES[BASE32.charCodeAt(i)] = i
  BASE32_VALUES[BASE32.toUpperCase().charCodeAt(i)] = i
}

/** The piece without line breaks; grown when needed, and shared, because a scan never waits in between. */
let joined = new Uint8Array(64 * 1024)

/** All that the view's pieces decode to, one view per encoding. */
export function decodeDigits(view: View): View[] {
  const { bytes } = view
  const base64 = new ViewWriter(0)
  const hex = new ViewWriter(0)
  const base32 = new ViewWriter(0)
  findRuns(bytes, (start, end) => {
    if (joined.length < end - start) joined = new Uint8Array((end - start) * 2)
    const values = joined
    let length = 0
    let upper = 0
    let lower = 0
    let digits = 0
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!
      if (BASE64_VALUES[byte] === SKIP) continue
      values[length++] = byte
      if (byte <= 0x39) digits++
      else if (byte <= 0x5a) upper++
      else if (byte >= 0x61) lower++
    }
    // What base64 makes of text has capitals and small letters; identifiers and paths of small ones are left out.
    if (upper > 1 && lower > 1) {
      for (let phase = 0; phase < 4; phase++) {
        base64.open(start)
        writeBase64(base64, values, phase, length)
        base64.close(end)
      }
    }
    if (digits > 0)
      eachPart(values, length, HEX_VALUES, HEX_MIN, (from, to) => {
        for (let phase = 0; phase < 2; phase++) {
          hex.open(start)
          writeHex(hex, values, from + phase, to)
          hex.close(to === length ? end : Math.min(end - 1, start + to))
        }
      })
    eachPart(values, length, BASE32_VALUES, BASE32_MIN, (from, to) => {
      for (let phase = 0; phase < 8; phase++) {
        base32.open(start)
        writeBase32(base32, values, from + phase, to)
        base32.close(to === length ? end : Math.min(end - 1, start + to))
      }
    })
  })
  const views = [base64.finish(view, "base64"), hex.finish(view, "hex"), base32.finish(view, "base32")]
  return views.filter((one) => one !== undefined)
}

/** Calls `part` with each stretch of at least `least` characters of the alphabet. */
function eachPart(
  text: Uint8Array,
  length: number,
  alphabet: Uint8Array,
  least: number,
  part: (from: number, to: number) => void,
): void {
  let clear = 0
  let at = least - 1
  while (at < length) {
    if (alphabet[text[at]!] === SKIP) {
      clear = at + 1
      at += least
      continue
    }
    let from = at
    while (from > clear && alphabet[text[from - 1]!] !== SKIP) from--
    let to = at + 1
    while (to < length && alphabet[text[to]!] !== SKIP) to++
    if (to - from >= least) part(from, to)
    clear = to
    at = to + least
  }
}

function writeBase64(out: ViewWriter, text: Uint8Array, from: number, to: number): void {
  out.room(Math.ceil(((to - from) * 3) / 4) + 3)
  const target = out.bytes
  let length = out.length
  let i = from
  for (; i + 4 <= to; i += 4) {
    const group =
      (BASE64_VALUES[text[i]!]! << 18) |
      (BASE64_VALUES[text[i + 1]!]! << 12) |
      (BASE64_VALUES[text[i + 2]!]! << 6) |
      BASE64_VALUES[text[i + 3]!]!
    target[length++] = group >> 16
    target[length++] = group >> 8
    target[length++] = group
  }
  if (to - i >= 2) {
    const group = (BASE64_VALUES[text[i]!]! << 18) | (BASE64_VALUES[text[i + 1]!]! << 12)
    target[length++] = group >> 16
    if (to - i === 3) target[length++] = (group | (BASE64_VALUES[text[i + 2]!]! << 6)) >> 8
  }
  out.length = length
}

function writeHex(out: ViewWriter, text: Uint8Array, from: number, to: number): void {
  for (let i = from; i + 2 <= to; i += 2) out.put((HEX_VALUES[text[i]!]! << 4) | HEX_VALUES[text[i + 1]!]!)
}

function writeBase32(out: ViewWriter, text: Uint8Array, from: number, to: number): void {
  let bits = 0
  let held = 0
  for (let i = from; i < to; i++) {
    held = ((held << 5) | BASE32_VALUES[text[i]!]!) & 0xfff
    bits += 5
    if (bits < 8) continue
    bits -= 8
    out.put((held >> bits) & 0xff)
  }
}
