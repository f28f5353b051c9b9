/** What the terminal of a person gets to see of an agent's output. */
import { admits } from "./admission.ts"
import { join } from "./join.ts"
import { TerminalParser } from "./parser.ts"
import type { TerminalPermission } from "./permission.ts"

/**
 * Removes what could act outside of the screen: clipboard, titles, notifications, files, printers, key definitions,
 * window operations, reports with text in them. The rest stays as it is, byte for byte, and nothing is added. Text
 * passes as whole characters and sequences pass whole, so no two pieces can join to what was removed between them,
 * and the terminal is never left inside of a sequence.
 *
 * The terminal is taken to read UTF-8. In Latin-1, letters such as U+00DD would hold bytes that are controls there.
 */
export class TerminalFilter {
  readonly #allow: ReadonlySet<TerminalPermission>
  readonly #parser: TerminalParser
  #chunk = new Uint8Array()
  /** Pieces of the output before the open one */
  #done: Uint8Array[] = []
  /** Open piece of the chunk: it grows while nothing is removed */
  #from = 0
  #to = 0

  constructor(options: { allow: ReadonlySet<TerminalPermission> }) {
    this.#allow = options.allow
    this.#parser = new TerminalParser((kind, bytes, from, to) => {
      if (!admits(kind, bytes, from, to, this.#allow)) return
      if (bytes !== this.#chunk) {
        this.#close()
        this.#done.push(bytes.slice(from, to))
      } else if (from === this.#to) {
        this.#to = to
      } else {
        this.#close()
        this.#from = from
        this.#to = to
      }
    })
  }

  /** The part of the next bytes that may be shown: a view of `chunk` where it can be, so use it before `chunk` changes. */
  push(chunk: Uint8Array): Uint8Array {
    this.#chunk = chunk as Uint8Array<ArrayBuffer>
    this.#from = 0
    this.#to = 0
    this.#parser.push(chunk)
    this.#close()
    const pieces = this.#done
    this.#done = []
    this.#chunk = new Uint8Array()
    return join(pieces)
  }

  #close(): void {
    if (this.#to > this.#from) this.#done.push(this.#chunk.subarray(this.#from, this.#to))
    this.#from = this.#to
  }
}
