/** The escapes of URLs, of strings in JSON and programs, of pages, and of mail. */
import type { ViewWriter } from "../view.ts"
import { type EscapeForm, hexAt, putCharacter } from "./rewrite.ts"

const PERCENT = 0x25
const BACKSLASH = 0x5c
const AMPERSAND = 0x26
const EQUALS = 0x3d
const SEMICOLON = 0x3b
const LETTER_U = 0x75
const LETTER_X = 0x78

/** RFC 3986 section 2.1, and the `%uXXXX` of old browsers and IIS. */
const percent: EscapeForm = {
  name: "percent",
  marker: PERCENT,
  undo(bytes, at, end, out) {
    const byte = hexAt(bytes, at + 1, 2, end)
    if (byte >= 0) {
      out.put(byte)
      return 3
    }
    if (((bytes[at + 1] ?? 0) | 0x20) !== LETTER_U) return 0
    const code = hexAt(bytes, at + 2, 4, end)
    if (code < 0) return 0
    putCharacter(out, code)
    return 6
  },
}

/** What a letter after a backslash stands for (RFC 8259 section 7, ECMAScript, C, Python, shells); -1 for none. */
const SIMPLE = new Int16Array(256).fill(-1)
for (const [letter, byte] of Object.entries({
  n: 10,
  r: 13,
  t: 9,
  b: 8,
  f: 12,
  v: 11,
  e: 27,
  "/": 47,
  "\\": 92,
  '"': 34,
  "'": 39,
  "`": 96,
})) {
  SIMPLE[letter.charCodeAt(0)] = byte
}

const backslash: EscapeForm = {
  name: "escapes",
  marker: BACKSLASH,
  undo(bytes, at, end, out) {
    const next = at + 1 < end ? bytes[at + 1]! : -1
    if (next < 0) return 0
    const simple = SIMPLE[next]!
    if (simple >= 0) {
      out.put(simple)
      return 2
    }
    if (next === LETTER_U || next === 0x55) return unicode(bytes, at, end, out)
    if (next === LETTER_X) {
      const code = hexAt(bytes, at + 2, 2, end)
      if (code < 0) return 0
      out.put(code)
      return 4
    }
    if (next >= 0x30 && next <= 0x37) return octal(bytes, at, end, out)
    // A backslash before a line's end continues the line (ECMAScript, C, shells).
    if (next === 10) return 2
    if (next === 13) return bytes[at + 2] === 10 ? 3 : 2
    return 0
  },
}

function unicode(bytes: Uint8Array, at: number, end: number, out: ViewWriter): number {
  if (bytes[at + 2] === 0x7b) {
    let digits = 0
    while (digits < 7 && hexAt(bytes, at + 3 + digits, 1, end) >= 0) digits++
    if (digits === 0 || bytes[at + 3 + digits] !== 0x7d) return 0
    putCharacter(out, hexAt(bytes, at + 3, digits, end))
    return digits + 4
  }
  if (bytes[at + 1] === 0x55) {
    const wide = hexAt(bytes, at + 2, 8, end)
    if (wide < 0) return 0
    putCharacter(out, wide)
    return 10
  }
  const high = hexAt(bytes, at + 2, 4, end)
  if (high < 0) return 0
  if (high >= 0xd800 && high < 0xdc00 && bytes[at + 6] === BACKSLASH && bytes[at + 7] === LETTER_U) {
    const low = hexAt(bytes, at + 8, 4, end)
    if (low >= 0xdc00 && low < 0xe000) {
      putCharacter(out, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
      return 12
    }
  }
  putCharacter(out, high)
  return 6
}

/** C and shells: one to three digits, at most 255. */
function octal(bytes: Uint8Array, at: number, end: number, out: ViewWriter): number {
  let value = 0
  let i = at + 1
  for (; i < end && i < at + 4; i++) {
    const digit = bytes[i]! - 0x30
    if (digit < 0 || digit > 7 || value * 8 + digit > 255) break
    value = value * 8 + digit
  }
  out.put(value)
  return i - at
}

const NAMED: readonly (readonly [string, number])[] = [
  ["&amp;", 38],
  ["&lt;", 60],
  ["&gt;", 62],
  ["&quot;", 34],
  ["&apos;", 39],
  ["&sol;", 47],
  ["&plus;", 43],
  ["&equals;", 61],
  ["&lowbar;", 95],
  ["&hyphen;", 45],
]

/** HTML's references by number, and the names of characters that secrets have. */
const entities: EscapeForm = {
  name: "entities",
  marker: AMPERSAND,
  undo(bytes, at, end, out) {
    if (bytes[at + 1] !== 0x23) {
      for (const [name, byte] of NAMED) {
        if (!spells(bytes, at, name)) continue
        out.put(byte)
        return name.length
      }
      return 0
    }
    const hex = ((bytes[at + 2] ?? 0) | 0x20) === LETTER_X
    let i = at + (hex ? 3 : 2)
    const first = i
    let code = 0
    for (; i < end && i - first < 7; i++) {
      const digit = hexAt(bytes, i, 1, end)
      if (digit < 0 || (!hex && digit > 9)) break
      code = code * (hex ? 16 : 10) + digit
    }
    if (i === first) return 0
    putCharacter(out, code)
    return i - at + (bytes[i] === SEMICOLON ? 1 : 0)
  },
}

function spells(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false
  return true
}

/**
 * Quoted-printable (RFC 2045 section 6.7), as parts of multipart bodies have it: soft line breaks, `=3D`, and escapes
 * that stand in a row. One alone is an assignment as likely as not.
 */
const quotedPrintable: EscapeForm = {
  name: "quoted-printable",
  marker: EQUALS,
  undo(bytes, at, end, out) {
    const next = bytes[at + 1]
    if (next === 10 || next === 13) {
      // Programs break lines after ` =`; what belongs together has no blank before it.
      if (at === 0 || bytes[at - 1]! <= 0x20) return 0
      if (next === 10) return 2
      return bytes[at + 2] === 10 ? 3 : 0
    }
    const code = hexAt(bytes, at + 1, 2, end)
    if (code < 0) return 0
    const before = at >= 3 && bytes[at - 3] === EQUALS && hexAt(bytes, at - 2, 2, end) >= 0
    const after = bytes[at + 3] === EQUALS && hexAt(bytes, at + 4, 2, end) >= 0
    if (code !== EQUALS && !before && !after) return 0
    out.put(code)
    return 3
  },
}

export const ESCAPES: readonly EscapeForm[] = [percent, backslash, entities, quotedPrintable]
