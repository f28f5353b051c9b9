/** A BottleError as people read it on stderr: what failed, why, what to do next. */
import { showable } from "../policy/denial.ts"
import type { BottleError } from "../runtime/error.ts"
import { columns, isTerminal, paint, widthOf } from "../runtime/output.ts"

/** Columns that the labels take */
const LABEL = 7
/** Longest line that is shown, in characters: a tool's own words, not a file of it. */
const LINE_MAX = 2000

/**
 * The lines of an error, coloured and wrapped for the terminal; a pipe gets each line as it is. Lines that begin with
 * a space are something to copy (YAML, commands) and are never wrapped.
 */
export function errorText(error: BottleError): string {
  const colour = paint("stderr")
  const [what = "", ...more] = laidOut(error.what)
  const lines = [`${colour.bad("error:")} ${colour.strong(what)}`, ...more.map(indented)]
  lines.push(...labelled(colour.dim("  why  "), error.why), ...labelled(colour.good("  next "), error.next))
  return lines.join("\n")
}

function labelled(label: string, text: string): string[] {
  if (text === "") return []
  const [first = "", ...more] = laidOut(text)
  return [label + first, ...more.map(indented)]
}

function indented(line: string): string {
  return line === "" ? "" : " ".repeat(LABEL) + line
}

/**
 * The lines of a text without what a terminal would act on: a reason may quote a gateway, a tool, or the name of a file
 * that an agent chose.
 */
export function shownLines(text: string): string[] {
  return text
    .replace(/\u001b\[[0-9;]*m/g, "")
    .replaceAll("\t", "    ")
    .trimEnd()
    .split(/\r?\n/)
    .map((line) => showable(line, LINE_MAX))
}

function laidOut(text: string): string[] {
  const lines = shownLines(text)
  if (!isTerminal("stderr")) return lines
  const room = Math.max(20, columns("stderr") - LABEL)
  return lines.flatMap((line) => (line.startsWith(" ") ? [line] : wrapped(line, room)))
}

/** Breaks a line at its spaces; a word that is longer than the room stays whole, so that paths can be copied. */
export function wrapped(line: string, room: number): string[] {
  const lines: string[] = []
  let current = ""
  for (const word of line.split(" ")) {
    if (current !== "" && widthOf(`${current} ${word}`) > room) {
      lines.push(current)
      current = word
    } else current = current === "" ? word : `${current} ${word}`
  }
  return [...lines, current]
}
