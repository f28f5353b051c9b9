/** Answers of the user's terminal that are still under way when the user leaves. */
import { admits } from "./admission.ts"
import { join } from "./join.ts"
import { TerminalParser, type TokenKind } from "./parser.ts"
import { answeredBy, isReport, type Query, queriesIn } from "./queries.ts"

/**
 * Questions remembered at once. A terminal that answers none of them leaves them standing, and of more than this the
 * oldest have been answered or never will be.
 */
const QUERIES_MAX = 256
/** No permission leads to a question. */
const NOTHING: ReadonlySet<never> = new Set()
/** Position and button of a mouse report in its oldest form, in characters. */
const OLD_MOUSE_CHARACTERS = 3

/**
 * A question that every terminal answers. Terminals answer in order, so its answer shows that all others have come:
 * sent when the user leaves and something is pending, it ends the wait for those that this terminal does not know.
 */
export const LAST_QUESTION: Uint8Array = new TextEncoder().encode("\u001b[c")

/**
 * Counts the questions that went to a terminal and the answers that came from it, and tells these from what the user
 * types. An answer that arrives after the user has left would be typed into their shell.
 */
export class ReplyDrain {
  /** Questions without an answer, oldest first */
  #asked: Query[] = []
  #typed: Uint8Array[] = []
  /** Characters to come of a mouse report */
  #mouse = 0
  readonly #output = new TerminalParser((kind, bytes, from, to) => {
    if (kind === "text" || !admits(kind, bytes, from, to, NOTHING)) return
    for (const query of queriesIn(kind, bytes, from, to)) this.#asked.push(query)
    if (this.#asked.length > QUERIES_MAX) this.#asked = this.#asked.slice(-QUERIES_MAX)
  })
  readonly #input = new TerminalParser((kind, bytes, from, to) => this.#token(kind, bytes, from, to))

  /** Takes what is written to the terminal, behind the filter. */
  sent(chunk: Uint8Array): void {
    this.#output.push(chunk)
  }

  /**
   * Takes what came from the terminal. Returns what the user typed of it: without answers and without reports of mouse,
   * focus, theme and size. While the user is there all of `chunk` belongs to the program, and this is for counting.
   */
  push(chunk: Uint8Array): Uint8Array {
    this.#input.push(chunk)
    const typed = this.#typed
    this.#typed = []
    return join(typed)
  }

  /** Whether answers may still come. */
  pending(): boolean {
    return this.#asked.length > 0
  }

  #token(kind: TokenKind, bytes: Uint8Array, from: number, to: number): void {
    let begin = from
    if (this.#mouse > 0) begin = this.#skipMouse(kind, bytes, from, to)
    if (begin === to) return
    const answered = answeredBy(kind, bytes, from, to)
    if (answered !== undefined) {
      const at = this.#asked.indexOf(answered)
      // What was asked before and got no answer gets none any more.
      if (at !== -1) this.#asked.splice(0, at + 1)
      // A cursor position that nobody asked for is a function key.
      if (at !== -1 || answered !== "n6") return
    }
    if (isReport(kind, bytes, from, to)) return
    if (kind === "csi" && to - from === 3 && bytes[from + 2] === 0x4d) {
      this.#mouse = OLD_MOUSE_CHARACTERS
      return
    }
    this.#typed.push(bytes.slice(begin, to))
  }

  /** Where the token goes on behind the characters of a mouse report. */
  #skipMouse(kind: TokenKind, bytes: Uint8Array, from: number, to: number): number {
    if (kind !== "text" && kind !== "control") {
      this.#mouse = 0
      return from
    }
    let at = from
    while (at < to && this.#mouse > 0) {
      at++
      while (at < to && (bytes[at]! & 0xc0) === 0x80) at++
      this.#mouse--
    }
    return at
  }
}
