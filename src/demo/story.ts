/** The demo as a person reads it: within the terminal's width, and nothing that only a colour says. */
import { wrapped } from "../cli/error-text.ts"
import type { Paint } from "../runtime/output.ts"
import { pad, widthOf } from "../runtime/output.ts"
import type { Chapter, Outcome, Step } from "./step.ts"

/** Columns before a command, what came back, and what it means; `started` and the prompts fill them */
const INDENT = 8
/** Columns that the rest of a folded line stands further in */
const HANG = 2
/** Widest and narrowest line, in columns, whatever the terminal says: long lines are hard to read */
const WIDTH_MAX = 100
const WIDTH_MIN = 60

const OPENING = [
  "Nothing is sent to the network: the hosts below demo.example are a small HTTPS service on this machine, which is",
  "removed at the end with all the rest.",
].join(" ")

export class Story {
  readonly #room: number
  readonly #colour: Paint
  #chapters = 0
  #steps = 0

  /** `width` is the terminal's, in columns. */
  constructor(width: number, colour: Paint) {
    this.#room = Math.max(WIDTH_MIN, Math.min(width, WIDTH_MAX)) - INDENT
    this.#colour = colour
  }

  /** Before anything is started. */
  opening(): string {
    const { strong, dim } = this.#colour
    const width = this.#room + INDENT
    return [
      ...wrapped("A bottle on this machine, with a scripted agent in it that tries to get out.", width).map(
        strong,
      ),
      ...wrapped(OPENING, width).map(dim),
      "\n",
    ].join("\n")
  }

  started(identity: string, ms: number, about: { found: string; notes: string[] }): string {
    const { good, strong, dim } = this.#colour
    return [
      `${pad(good("started"), INDENT)}${strong(identity)} ${dim(`in ${Math.round(ms)} ms`)}`,
      ...[about.found, ...about.notes].flatMap((note) => this.#indented(folded(note, this.#room), dim)),
    ].join("\n")
  }

  chapter({ title }: Chapter): string {
    this.#chapters += 1
    const lines = wrapped(`${this.#chapters}. ${title}`, this.#room + INDENT)
    return ["", ...lines.map(this.#colour.strong)].join("\n")
  }

  /** What is tried, told before it is. */
  trying({ who }: Step, tried: string): string {
    const { name, dim } = this.#colour
    this.#steps += 1
    const [first = "", ...more] = asTyped(tried, this.#room)
    const prompt = dim(pad(who === "agent" ? "agent $" : "you   $", INDENT))
    return ["", `${prompt}${name(first)}`, ...this.#indented(more, name)].join("\n")
  }

  outcome({ holds, seen, says }: Outcome): string {
    const { good, bad } = this.#colour
    const mark = holds ? good("\u2713 ok") : bad("\u2717 FAIL")
    const [first = "", ...more] = wrapped(says, this.#room)
    return [
      ...seen.flatMap((line) => this.#indented(folded(line, this.#room))),
      `${pad(mark, INDENT)}${first}`,
      ...this.#indented(more),
    ].join("\n")
  }

  closing(ms: number): string {
    const { good, name, strong, dim } = this.#colour
    return [
      "",
      `${good(`All ${this.#steps} checks hold.`)} ${dim(`${(ms / 1000).toFixed(1)} s, and all of it is removed.`)}`,
      "",
      strong("Next"),
      `  ${name("bottle init")}     make your first agent and its bottle`,
      `  ${name("bottle doctor")}   see what works on this machine`,
    ].join("\n")
  }

  #indented(lines: readonly string[], colour: (text: string) => string = (text) => text): string[] {
    return lines.map((line) => `${" ".repeat(INDENT)}${colour(line)}`.trimEnd())
  }
}

/** A command, folded as a shell takes it. */
function asTyped(command: string, room: number): string[] {
  if (widthOf(command) <= room) return [command]
  const lines = wrapped(command, room - HANG - 2)
  return lines.map(
    (line, i) => `${i === 0 ? "" : " ".repeat(HANG)}${line}${i < lines.length - 1 ? " \\" : ""}`,
  )
}

/** As `wrapped`, and with words cut that are longer than the room: nothing here is to be copied. */
function folded(text: string, room: number): string[] {
  if (widthOf(text) <= room) return [text]
  const rest = room - HANG
  const words = text
    .trimEnd()
    .split(" ")
    .flatMap((word) => pieces(word, rest))
  return wrapped(words.join(" "), rest).map((line, i) => `${i === 0 ? "" : " ".repeat(HANG)}${line}`)
}

/** A word in parts of at most so many columns. */
function pieces(word: string, room: number): string[] {
  const parts = [""]
  for (const character of word) {
    if (widthOf(parts.at(-1) + character) > room) parts.push("")
    parts[parts.length - 1] += character
  }
  return parts
}
