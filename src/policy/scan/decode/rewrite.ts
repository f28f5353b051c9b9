/** What the decoders of escapes share: they copy a text with its escapes undone, where there are any. */
import { type View, ViewWriter } from "../view.ts"

export interface EscapeForm {
  /** Name in findings */
  readonly name: string
  /** Byte that every escape begins with */
  readonly marker: number
  /** Bytes of the escape that begins at `at`, which is written; 0 when none does, and then nothing is written */
  undo(bytes: Uint8Array, at: number, end: number, out: ViewWriter): number
}

/** Bytes around an escape that are copied with it; what is unbroken by blanks and quotes is copied further. */
const AROUND = 512

/** Blanks, quotes and control characters end what is one piece, however long. */
const BREAKS = new Uint8Array(256)
for (let byte = 0; byte <= 0x20; byte++) BREAKS[byte] = 1
for (const byte of Buffer.from("\"'`<>")) BREAKS[byte] = 1

/** The text without its escapes; undefined when it has none. */
export function rewrite(form: EscapeForm, view: View): View | undefined {
  const { bytes } = view
  const n = bytes.length
  let at = bytes.indexOf(form.marker)
  if (at < 0) return undefined
  const out = new ViewWriter(0)
  let open = false
  /** Bytes before are written already, or belong to no segment */
  let done = 0
  let clear = 0
  let zero = zeroFrom(bytes, 0)
  while (at >= 0) {
    const wasOpen = open
    if (zero < done) zero = zeroFrom(bytes, done)
    // A zero byte stands between segments of the view, and ends a text anyway.
    if (open && (zero < at || (at - done > 2 * AROUND && hasBreak(bytes, done, at)))) {
      const to = tailEnd(bytes, done, at)
      out.copy(bytes, done, to)
      out.close(to)
      done = to
      clear = to
      open = false
    }
    if (open) {
      out.copy(bytes, done, at)
      done = at
      const taken = form.undo(bytes, at, n, out)
      if (taken === 0) out.put(bytes[at]!)
      done = at + Math.max(1, taken)
    } else {
      const probe = wasOpen ? new ViewWriter(0) : PROBE
      probe.length = 0
      const taken = form.undo(bytes, at, n, probe)
      if (taken > 0) {
        const from = headStart(bytes, clear, at)
        // Room for all that is left would be zeroed for a single escape; half of it grows to that if need be.
        if (out.length === 0) out.room(Math.min(n - from, 64 * 1024))
        out.open(from)
        out.copy(bytes, from, at)
        out.copy(probe.bytes, 0, probe.length)
        open = true
        done = at + taken
      }
    }
    at = nextMarker(bytes, form.marker, Math.max(done, at + 1))
  }
  if (open) {
    const to = tailEnd(bytes, done, n)
    out.copy(bytes, done, to)
    out.close(to)
  }
  return out.finish(view, form.name)
}

const PROBE = new ViewWriter(64)

/** The next few bytes by hand: in code, escapes stand close together, and a call costs more. */
function nextMarker(bytes: Uint8Array, marker: number, from: number): number {
  const near = Math.min(bytes.length, from + 24)
  for (let i = from; i < near; i++) if (bytes[i] === marker) return i
  return near === bytes.length ? -1 : bytes.indexOf(marker, near)
}

function hasBreak(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (BREAKS[bytes[i]!] === 1) return true
  return false
}

function headStart(bytes: Uint8Array, least: number, at: number): number {
  let from = at
  const near = Math.max(least, at - AROUND)
  while (from > near && bytes[from - 1] !== 0) from--
  while (from > least && BREAKS[bytes[from - 1]!] === 0) from--
  return from
}

function zeroFrom(bytes: Uint8Array, from: number): number {
  const at = bytes.indexOf(0, from)
  return at < 0 ? bytes.length : at
}

function tailEnd(bytes: Uint8Array, from: number, most: number): number {
  let to = from
  const near = Math.min(most, from + AROUND)
  while (to < near && bytes[to] !== 0) to++
  while (to < most && BREAKS[bytes[to]!] === 0) to++
  return to
}

/** Value of a hexadecimal digit, by byte; -1 for others. */
const HEX = new Int8Array(256).fill(-1)
for (let i = 0; i < 16; i++) {
  HEX[i.toString(16).charCodeAt(0)] = i
  HEX[i.toString(16).toUpperCase().charCodeAt(0)] = i
}

/** Value of `digits` hexadecimal digits at `at`; -1 when they are none. */
export function hexAt(bytes: Uint8Array, at: number, digits: number, end: number): number {
  if (at + digits > end) return -1
  let value = 0
  for (let i = at; i < at + digits; i++) {
    const digit = HEX[bytes[i]!]!
    if (digit < 0) return -1
    value = value * 16 + digit
  }
  return value
}

/**
 * Writes a character: of Latin-1 as one byte, for that is how strings carry bytes, others as UTF-8; what is no character
 * as U+FFFD.
 */
export function putCharacter(out: ViewWriter, code: number): void {
  if (code < 0x100) {
    out.put(code)
  } else if (code < 0x800) {
    out.put(0xc0 | (code >> 6))
    out.put(0x80 | (code & 63))
  } else if (code < 0x10000) {
    const valid = code >= 0xd800 && code < 0xe000 ? 0xfffd : code
    out.put(0xe0 | (valid >> 12))
    out.put(0x80 | ((valid >> 6) & 63))
    out.put(0x80 | (valid & 63))
  } else if (code < 0x110000) {
    out.put(0xf0 | (code >> 18))
    out.put(0x80 | ((code >> 12) & 63))
    out.put(0x80 | ((code >> 6) & 63))
    out.put(0x80 | (code & 63))
  } else {
    putCharacter(out, 0xfffd)
  }
}
