/**
 * Cuts a terminal's byte stream into text, controls and control sequences (ECMA-48, and the state machine of DEC's
 * terminals as Paul Williams drew it), wherever the stream is split into chunks.
 *
 * Only what is well-formed comes out. Terminals disagree on everything else: a C0 inside of a sequence is executed by
 * some and ends the sequence in others, a C1 control is honoured as one byte, as two bytes of UTF-8, or not at all.
 * Such sequences are read to their end and dropped, so that what is passed on means the same everywhere.
 */
import { characterLength, INCOMPLETE, INVALID } from "./utf8.ts"

/**
 * `text`: printable characters, whole, in UTF-8. `control`: one C0 or DEL. `escape`: ESC, intermediates, final.
 * `csi`, `osc`, `dcs`, `apc`, `pm`, `sos`: from the introducer to the end of the terminator.
 * `title`: ESC k and a string, by which GNU screen and tmux name a window.
 */
export type TokenKind = "text" | "control" | "escape" | "csi" | StringKind
export type StringKind = "osc" | "dcs" | "apc" | "pm" | "sos" | "title"

/** Takes one token, `bytes[from..to)`. The bytes are those of the chunk or a buffer that is used again: copy to keep. */
export type TokenSink = (kind: TokenKind, bytes: Uint8Array, from: number, to: number) => void

/** Longest ESC sequence, in bytes: none in use has more than two intermediates. */
const ESCAPE_MAX_BYTES = 8
/** Longest CSI sequence, in bytes: a style with three colours needs 70, and xterm keeps 30 parameters of one. */
const CSI_MAX_BYTES = 256
/**
 * Longest control string, in bytes: of those ever passed on, the clipboard's is the longest, and 96 KiB of text is
 * more than xterm takes. It bounds what one sequence may keep in memory.
 */
const STRING_MAX_BYTES = 128 * 1024
/** A buffer larger than this is given back once its sequence is done, in bytes. */
const KEPT_BUFFER_BYTES = 4096

const BEL = 0x07
const CAN = 0x18
const SUB = 0x1a
const ESC = 0x1b
const DEL = 0x7f
const BACKSLASH = 0x5c

const GROUND = 0
/** Inside of a character */
const CHARACTER = 1
const ESCAPE = 2
const ESCAPE_INTERMEDIATE = 3
const CSI_ENTRY = 4
const CSI_PARAMETER = 5
const CSI_INTERMEDIATE = 6
const STRING = 7
/** Behind an ESC inside of a string */
const STRING_ESCAPE = 8

/** Second byte of the 7-bit introducer of each string. */
const STRINGS = new Map<number, StringKind>([
  [0x50, "dcs"],
  [0x58, "sos"],
  [0x5d, "osc"],
  [0x5e, "pm"],
  [0x5f, "apc"],
  [0x6b, "title"],
])

export class TerminalParser {
  readonly #sink: TokenSink
  #state = GROUND
  #string: StringKind = "osc"
  /** The sequence will be dropped at its end */
  #bad = false
  /** Bytes of the sequence from earlier chunks, one more than its limit at most */
  #held = new Uint8Array(CSI_MAX_BYTES)
  #heldLength = 0
  /** Where the sequence, or its part in this chunk, begins */
  #start = 0
  /** Last byte of the string so far */
  #previous = 0

  constructor(sink: TokenSink) {
    this.#sink = sink
  }

  push(chunk: Uint8Array): void {
    this.#start = 0
    let i = 0
    while (i < chunk.length) {
      switch (this.#state) {
        case GROUND:
          i = this.#ground(chunk, i)
          break
        case CHARACTER:
          i = this.#character(chunk, i)
          break
        case STRING:
          i = this.#inString(chunk, i)
          break
        default:
          i = this.#step(chunk, i)
      }
    }
    if (this.#state !== GROUND && this.#state !== CHARACTER) this.#hold(chunk, chunk.length)
  }

  /** What the stream has of a sequence or character that has not ended: with the next chunk behind it, it is whole. */
  partial(): Uint8Array {
    const held = this.#held.subarray(0, this.#heldLength)
    // Of a string that is too long the end was not kept, and an ESC there decides what the next byte is.
    const cut = this.#state === STRING_ESCAPE && held.at(-1) !== ESC
    return Uint8Array.from(cut ? [...held, ESC] : held)
  }

  /** Text up to the first byte that is none, and that byte. Returns where to go on. */
  #ground(chunk: Uint8Array, from: number): number {
    const end = chunk.length
    let i = from
    for (;;) {
      let byte = 0
      while (i < end) {
        byte = chunk[i]!
        if (byte < 0x20 || byte > 0x7e) break
        i++
      }
      if (i === end) {
        this.#text(chunk, from, i)
        return end
      }
      if (byte > DEL) {
        const length = characterLength(chunk, i, end)
        // A C1 control in UTF-8 is a character to xterm and a control to VTE.
        const c1 = length === 2 && byte === 0xc2 && chunk[i + 1]! < 0xa0
        if (length > 0 && !c1) {
          i += length
          continue
        }
        this.#text(chunk, from, i)
        if (c1) {
          this.#begin(i)
          this.#c1(chunk[i + 1]!)
          return i + 2
        }
        // A byte that is part of no character is shown as U+FFFD at best and taken for an 8-bit C1 control at worst.
        if (length === INVALID) return i + 1
        this.#state = CHARACTER
        this.#heldLength = 0
        this.#start = i
        this.#hold(chunk, end)
        return end
      }
      this.#text(chunk, from, i)
      if (byte === ESC) {
        this.#begin(i)
        this.#state = ESCAPE
      } else {
        this.#sink("control", chunk, i, i + 1)
      }
      return i + 1
    }
  }

  #text(chunk: Uint8Array, from: number, to: number): void {
    if (to > from) this.#sink("text", chunk, from, to)
  }

  /** The rest of a character that began in an earlier chunk. */
  #character(chunk: Uint8Array, at: number): number {
    const held = this.#held
    held[this.#heldLength] = chunk[at]!
    const length = characterLength(held, 0, this.#heldLength + 1)
    if (length === INVALID) {
      // The bytes before this one can begin nothing else: they follow a lead byte, so they are continuation bytes.
      this.#ends()
      return at
    }
    this.#heldLength++
    if (length === INCOMPLETE) return at + 1
    if (held[0] === 0xc2 && held[1]! < 0xa0) {
      this.#bad = true
      this.#start = at + 1
      this.#c1(held[1]!)
      return at + 1
    }
    this.#ends()
    this.#sink("text", held, 0, length)
    return at + 1
  }

  /** A sequence that a C1 control in UTF-8 opens is followed to its end, and dropped. */
  #c1(code: number): void {
    this.#bad = true
    const kind = STRINGS.get(code - 0x40)
    if (kind !== undefined) this.#openString(kind)
    else if (code === 0x9b) this.#state = CSI_ENTRY
    else this.#ends()
  }

  /** One byte of an ESC or CSI sequence, or behind an ESC in a string. Returns where to go on. */
  #step(chunk: Uint8Array, at: number): number {
    const byte = chunk[at]!
    if (this.#state === STRING_ESCAPE) {
      if (byte === BACKSLASH) {
        this.#finish(this.#string, chunk, at + 1)
        return at + 1
      }
      // Any other ESC ends the string without a terminator and begins something itself.
      this.#restart(at)
      return at
    }
    if (byte === ESC) {
      this.#begin(at)
      this.#state = ESCAPE
      return at + 1
    }
    if (byte === CAN || byte === SUB) {
      this.#ends()
      return at + 1
    }
    if (byte > DEL) {
      this.#ends()
      return at
    }
    if (byte < 0x20 || byte === DEL) this.#bad = true
    else if (this.#state <= ESCAPE_INTERMEDIATE) this.#escape(byte, chunk, at)
    else this.#csi(byte, chunk, at)
    return at + 1
  }

  #escape(byte: number, chunk: Uint8Array, at: number): void {
    if (byte < 0x30) {
      this.#state = ESCAPE_INTERMEDIATE
      return
    }
    if (this.#state === ESCAPE) {
      const kind = STRINGS.get(byte)
      if (kind !== undefined) {
        this.#openString(kind)
        return
      }
      if (byte === 0x5b) {
        this.#state = CSI_ENTRY
        return
      }
    }
    this.#finish("escape", chunk, at + 1)
  }

  #csi(byte: number, chunk: Uint8Array, at: number): void {
    if (byte >= 0x40) {
      this.#finish("csi", chunk, at + 1)
    } else if (byte < 0x30) {
      this.#state = CSI_INTERMEDIATE
    } else {
      // A private prefix stands first, parameters stand before intermediates.
      if (this.#state === CSI_INTERMEDIATE || (byte >= 0x3c && this.#state !== CSI_ENTRY)) this.#bad = true
      if (this.#state === CSI_ENTRY) this.#state = CSI_PARAMETER
    }
  }

  #openString(kind: StringKind): void {
    this.#state = STRING
    this.#string = kind
    this.#previous = 0
  }

  #inString(chunk: Uint8Array, from: number): number {
    let previous = this.#previous
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i]!
      if (byte >= 0x20 && byte < DEL) {
        previous = byte
        continue
      }
      if (byte === ESC) {
        this.#state = STRING_ESCAPE
        return i + 1
      }
      if (byte === BEL && this.#string === "osc") {
        this.#finish("osc", chunk, i + 1)
        return i + 1
      }
      // U+009C, the C1 form of the terminator: 0xc2 is never the second byte of a character.
      if (byte === CAN || byte === SUB || (byte === 0x9c && previous === 0xc2)) {
        this.#ends()
        return i + 1
      }
      if (byte <= DEL) this.#bad = true
      previous = byte
    }
    this.#previous = previous
    return chunk.length
  }

  #begin(at: number): void {
    this.#start = at
    this.#heldLength = 0
    this.#bad = false
  }

  /** Begins a sequence whose ESC stands before `at`, perhaps in an earlier chunk. */
  #restart(at: number): void {
    if (at > 0) {
      this.#begin(at - 1)
    } else {
      this.#begin(0)
      this.#held[0] = ESC
      this.#heldLength = 1
    }
    this.#state = ESCAPE
  }

  /** The sequence ends before `end`: passed on when it is whole, well-formed and not too long. */
  #finish(kind: TokenKind, chunk: Uint8Array, end: number): void {
    const length = this.#heldLength + end - this.#start
    if (!this.#bad && length <= this.#limit()) {
      if (this.#heldLength === 0) {
        this.#state = GROUND
        this.#sink(kind, chunk, this.#start, end)
        return
      }
      this.#hold(chunk, end)
      this.#sink(kind, this.#held, 0, length)
    }
    this.#ends()
  }

  #ends(): void {
    this.#state = GROUND
    this.#bad = false
    this.#heldLength = 0
    if (this.#held.length > KEPT_BUFFER_BYTES) this.#held = new Uint8Array(CSI_MAX_BYTES)
  }

  #limit(): number {
    if (this.#state >= STRING) return STRING_MAX_BYTES
    return this.#state >= CSI_ENTRY ? CSI_MAX_BYTES : ESCAPE_MAX_BYTES
  }

  /** Keeps what this chunk has of the sequence, but no more than shows that it is too long. */
  #hold(chunk: Uint8Array, end: number): void {
    const wanted = Math.min(this.#heldLength + end - this.#start, this.#limit() + 1)
    if (wanted > this.#held.length) {
      const larger = new Uint8Array(Math.min(Math.max(wanted, 2 * this.#held.length), STRING_MAX_BYTES + 1))
      larger.set(this.#held.subarray(0, this.#heldLength))
      this.#held = larger
    }
    this.#held.set(chunk.subarray(this.#start, this.#start + wanted - this.#heldLength), this.#heldLength)
    this.#heldLength = wanted
  }
}
