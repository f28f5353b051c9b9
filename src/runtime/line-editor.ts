/** Turns typed keys into a line: what a terminal's own line discipline would do, for a terminal in raw mode. */
import { BottleError } from "./error.ts"

/** Characters an answer may have; a longer one is a paste gone wrong */
const ANSWER_MAX = 64 * 1024

export const CTRL_C = "\u0003"
const CTRL_D = "\u0004"
const CTRL_U = "\u0015"
const CTRL_W = "\u0017"

/** What a line editor must know in raw mode: erase, erase word, erase line, end, interrupt. */
export class LineEditor {
  #text: string[] = []
  /** Inside an escape sequence (arrow keys and the like), which has no meaning here */
  #escape: "no" | "begun" | "sequence" = "no"
  readonly #show: (text: string) => void

  constructor(show: (text: string) => void) {
    this.#show = show
  }

  /** Takes typed characters; the answer once Enter was among them. Throws a BottleError on Ctrl-C and Ctrl-D. */
  take(typed: string): string | undefined {
    for (const key of typed) {
      if (this.#escape !== "no") {
        this.#skipEscape(key)
        continue
      }
      if (key === "\r" || key === "\n") return this.#text.join("")
      if (key === CTRL_C || (key === CTRL_D && this.#text.length === 0)) {
        throw new BottleError({ what: "Interrupted at the question; nothing was changed", exitCode: 130 })
      }
      if (key === "\u001b") this.#escape = "begun"
      else if (key === "\u007f" || key === "\b") this.#erase(1)
      else if (key === CTRL_U) this.#erase(this.#text.length)
      else if (key === CTRL_W) this.#erase(this.#lastWord())
      else if (key >= " " && this.#text.length < ANSWER_MAX) {
        this.#text.push(key)
        this.#show(key)
      }
    }
    return undefined
  }

  #erase(count: number): void {
    const gone = this.#text.splice(Math.max(0, this.#text.length - count))
    const columns = Bun.stringWidth(gone.join(""))
    this.#show("\b \b".repeat(columns))
  }

  #lastWord(): number {
    const text = this.#text.join("")
    const kept = [...text.replace(/\S+\s*$/, "")]
    return this.#text.length - kept.length
  }

  /** ESC [ ... letter, ESC O letter, or ESC and one key (ECMA-48). */
  #skipEscape(key: string): void {
    if (this.#escape === "begun") this.#escape = key === "[" || key === "O" ? "sequence" : "no"
    else if (key >= "@" && key <= "~") this.#escape = "no"
  }
}
