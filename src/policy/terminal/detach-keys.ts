/** The keys by which a user leaves a running agent: ctrl-\ and then d, however the terminal spells them. */

const NOTHING = new Uint8Array()
const LATIN1 = new TextDecoder("latin1")

const PREFIX = 0x5c
const DETACH = 0x64
/** Bits of a key's modifiers, which are told as one more than their sum (xterm's and kitty's count) */
const CTRL = 4
const CAPS_AND_NUM_LOCK = 64 | 128
/** Third part of the modifiers in kitty's protocol: the key is let go */
const RELEASED = "3"
/** kitty's numbers of the keys that only modify or lock others: they are no keystroke by themselves */
const LOCKS_AND_MODIFIERS: readonly [number, number][] = [
  [57358, 57360],
  [57441, 57454],
]

const PASTED = "\u001b[201~"

/**
 * What comes from a terminal, piece by piece: the beginning of pasted text, kitty's and xterm's keys, other CSI
 * sequences and strings, text in which neither key can be, and single bytes.
 */
const PIECE =
  /(\u001b\[200~)|\u001b\[(\d+)(?::\d*)*(?:;(\d*)(?::(\d))?)?(?:;[\d:]*)?u|\u001b\[27;(\d+);(\d+)~|(\u001b\[[\d;:?<>=!]*[ -/]*[@-~]|\u001b[\]P][^\u0007\u001b]*(?:\u0007|\u001b\\))|[^\u001b\u001cd]+|./sy

/** Cursor and function keys, which end in a letter of their own or in `~`. */
const FUNCTION_KEY = /^\u001b\[[\d;:]*[A-HPQSZ~]$/

/** One key, or what else came. */
type Stroke = "prefix" | "detach" | "other" | "nothing" | "paste"

/**
 * Finds the two keys in what the user types. With a key protocol on, ctrl-\ is no longer the byte 1c but a sequence
 * (`CSI 92 ; 5 u`), and between the two keys the first one is let go, the mouse moves and the terminal answers questions.
 * What is pasted is never a key: text that a user copied must not be able to end up in their shell. The first key waits
 * for the second without a limit of time, as the prefix keys of screen and tmux do: given to the program by itself it is
 * SIGQUIT, and who hesitates would end the agent.
 */
export class DetachKeys {
  /** First key, as it came, while the second is awaited */
  #prefix: Uint8Array | undefined
  /** End of the pasted text so far, in which its end mark may have begun; undefined while nothing is pasted */
  #pasting: string | undefined

  /** Takes what came from the terminal. Returns what the program gets of it, and whether the user wants to leave. */
  push(chunk: Uint8Array): { typed: Uint8Array; detach: boolean } {
    const typed: Uint8Array[] = []
    const text = LATIN1.decode(chunk)
    let at = this.#pasting === undefined ? 0 : this.#paste(text)
    typed.push(chunk.subarray(0, at))
    while (at < chunk.length) {
      PIECE.lastIndex = at
      const piece = PIECE.exec(text)
      if (piece === null) break
      const from = at
      at += piece[0].length
      const stroke = strokeOf(piece)
      if (stroke === "detach" && this.#prefix !== undefined) {
        this.#prefix = undefined
        return { typed: Buffer.concat(typed), detach: true }
      }
      if (stroke !== "nothing") typed.push(this.#release())
      if (stroke === "prefix") {
        this.#prefix = chunk.slice(from, at)
        continue
      }
      if (stroke === "paste") {
        this.#pasting = ""
        at += this.#paste(text.slice(at))
      }
      typed.push(chunk.subarray(from, at))
    }
    return { typed: Buffer.concat(typed), detach: false }
  }

  #release(): Uint8Array {
    const prefix = this.#prefix ?? NOTHING
    this.#prefix = undefined
    return prefix
  }

  /** Length of what is pasted of a text that goes on with it. */
  #paste(text: string): number {
    const before = this.#pasting ?? ""
    const all = before + text
    const end = all.indexOf(PASTED)
    this.#pasting = end < 0 ? all.slice(1 - PASTED.length) : undefined
    return end < 0 ? text.length : end + PASTED.length - before.length
  }
}

function strokeOf(piece: RegExpMatchArray): Stroke {
  const [text, paste, kittyKey, kittyModifiers, event, xtermModifiers, xtermKey, sequence] = piece
  if (paste !== undefined) return "paste"
  if (kittyKey !== undefined) {
    if (event === RELEASED || isModifier(Number(kittyKey))) return "nothing"
    return keyOf(Number(kittyKey), Number(kittyModifiers || 1))
  }
  if (xtermKey !== undefined) return keyOf(Number(xtermKey), Number(xtermModifiers))
  if (sequence !== undefined) return FUNCTION_KEY.test(text) && !text.includes(":3") ? "other" : "nothing"
  if (text === "\u001c") return "prefix"
  return text === "d" ? "detach" : "other"
}

function keyOf(code: number, modifiers: number): Stroke {
  const held = (modifiers - 1) & ~CAPS_AND_NUM_LOCK
  if (code === PREFIX && held === CTRL) return "prefix"
  return code === DETACH && held === 0 ? "detach" : "other"
}

function isModifier(code: number): boolean {
  return LOCKS_AND_MODIFIERS.some(([from, to]) => code >= from && code <= to)
}
