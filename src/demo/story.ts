/** The demo as a person reads it: 80 columns or less, and nothing that only a colour says. */
import { wrapped } from "../cli/error-text.ts"
import { cut } from "../cli/table.ts"
import type { Paint } from "../runtime/output.ts"
import { type Outcome, STEPS, type Step } from "./steps.ts"

/** Columns before a command, and before what came back */
const INDENT = 8
/** Widest line, however wide the terminal is: long lines are hard to read */
const WIDTH_MAX = 100

export class Story {
  readonly #width: number
  readonly #colour: Paint
  #chapter = ""
  #chapters = 0

  /** `width` is the terminal's, in columns. */
  constructor(width: number, colour: Paint) {
    this.#width = Math.max(40, Math.min(width, WIDTH_MAX))
    this.#colour = colour
  }

  /** Before anything is started. */
  opening(): string {
    const { strong, dim } = this.#colour
    return [
      strong("A bottle on this machine, and an agent that tries to get out of it."),
      dim("Nothing is sent to the network, and nothing is left behind: the hosts below"),
      dim("demo.example are a small HTTPS service that runs here for as long as this does."),
      "",
    ].join("\n")
  }

  started(identity: string, ms: number, about: { found: string; notes: string[] }): string {
    const { good, strong, dim } = this.#colour
    return [
      `${good("started")} ${strong(identity)} ${dim(`in ${Math.round(ms)} ms`)}`,
      ...[about.found, ...about.notes].flatMap((note) =>
        wrapped(note, this.#width - INDENT).map((line) => " ".repeat(INDENT) + dim(line)),
      ),
    ].join("\n")
  }

  /** What is tried, told before it is. */
  trying(step: Step, tried: string): string {
    const { strong, name, dim } = this.#colour
    const lines = [""]
    if (step.chapter !== this.#chapter) {
      this.#chapter = step.chapter
      this.#chapters += 1
      lines.push(strong(`${this.#chapters}. ${step.chapter}`))
    }
    const prompt = step.who === "agent" ? "agent $" : "  you $"
    const [first = "", ...more] = folded(tried, this.#width - INDENT)
    lines.push(`${dim(prompt)} ${name(first)}`, ...more.map((line) => " ".repeat(INDENT) + name(line)))
    return lines.join("\n")
  }

  outcome({ holds, seen, says }: Outcome): string {
    const { good, bad } = this.#colour
    const room = this.#width - INDENT
    const mark = holds ? good("\u2713 holds") : bad("\u2717 BROKEN")
    const [first = "", ...more] = wrapped(says, room - 2)
    return [
      ...seen.flatMap((line) => folded(line, room)).map((line) => `${" ".repeat(INDENT)}${line}`.trimEnd()),
      `${mark} ${first}`,
      ...more.map((line) => " ".repeat(INDENT) + line),
    ].join("\n")
  }

  closing(ms: number): string {
    const { good, name, strong, dim } = this.#colour
    return [
      "",
      `${good(`All ${STEPS.length} hold.`)} ${dim(`${(ms / 1000).toFixed(1)} s, and everything of it is removed.`)}`,
      "",
      strong("Next"),
      `  ${name("bottle init")}     make a first agent and its bottle`,
      `  ${name("bottle doctor")}   see what works on this machine`,
    ].join("\n")
  }
}

/** As `wrapped`; a word that is longer than the room is cut through, because nothing here is to be copied. */
function folded(text: string, room: number): string[] {
  return wrapped(text, room).flatMap((line) => {
    const parts: string[] = []
    for (let rest = line; rest !== ""; ) {
      const part = cut(rest, room).replace(/…$/, "")
      parts.push(part)
      rest = rest.slice(part.length)
    }
    return parts
  })
}
