/** A program's output for whoever only looks on: without what a terminal would answer. */
import { join } from "./join.ts"
import { TerminalParser } from "./parser.ts"
import { queriesIn } from "./queries.ts"

/**
 * Removes questions. Of several terminals that show one program only one may answer: the others' answers would reach
 * the program as keys that nobody has typed.
 */
export class QuestionFilter {
  #pieces: Uint8Array[] = []
  readonly #parser = new TerminalParser((kind, bytes, from, to) => {
    const asks = kind !== "text" && queriesIn(kind, bytes, from, to).length > 0
    if (!asks) this.#pieces.push(bytes.slice(from, to))
  })

  /** `begun` is what has come already of a sequence that has not ended; it is not handed out a second time. */
  constructor(begun: Uint8Array) {
    this.#parser.push(begun)
    this.#pieces = []
  }

  push(chunk: Uint8Array): Uint8Array {
    this.#parser.push(chunk)
    const pieces = this.#pieces
    this.#pieces = []
    return join(pieces)
  }

  /** What is held back of a sequence that has not ended. */
  partial(): Uint8Array {
    return this.#parser.partial()
  }
}
