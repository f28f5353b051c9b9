/** Questions that make a terminal type an answer, and those answers. */
import { readControlSequence } from "./csi.ts"
import type { TokenKind } from "./parser.ts"

/** What was asked for; the answer is of the same kind. */
export type Query = string

const LATIN1 = new TextDecoder("latin1")

/** OSC strings that ask for a colour, and the answers to them: the kind is the number. */
const COLOUR_QUESTION = /^\u001b\](4|1[01279]);(?:.*;)?\?/
const COLOUR_ANSWER = /^\u001b\](4|1[01279]);/

/** The questions in an admitted token, none for most. A palette may be asked for several colours at once. */
export function queriesIn(kind: TokenKind, bytes: Uint8Array, from: number, to: number): Query[] {
  if (kind === "csi") {
    const sequence = readControlSequence(bytes, from, to)
    switch (sequence?.name) {
      case "c":
      case ">c":
      case "=c":
      case ">q":
      case "$p":
      case "?$p":
      case "?u":
      case "?m":
        return [sequence.name]
      case "n":
      case "?n":
        return [`${sequence.name}${sequence.params[0] ?? 0}`]
      default:
        return []
    }
  }
  if (kind === "dcs") return [LATIN1.decode(bytes.subarray(from + 2, from + 4))]
  if (kind !== "osc") return []
  const text = LATIN1.decode(bytes.subarray(from, to))
  const number = COLOUR_QUESTION.exec(text)?.[1]
  return number === undefined ? [] : text.match(/;\?/g)!.map(() => `osc${number}`)
}

/** The question that a token of the terminal's input answers; undefined when it is none. */
export function answeredBy(kind: TokenKind, bytes: Uint8Array, from: number, to: number): Query | undefined {
  if (kind === "csi") {
    const sequence = readControlSequence(bytes, from, to)
    if (sequence === undefined) return undefined
    const { name, params } = sequence
    switch (name) {
      case "?c":
        return "c"
      case ">c":
        return ">c"
      case "n":
        return "n5"
      case "?n":
        return "?n996"
      // F3 with shift is CSI 1;2R as well: the caller knows whether anybody has asked.
      case "R":
        return params.length === 2 ? "n6" : undefined
      case "?R":
        return "?n6"
      case "$y":
        return "$p"
      case "?$y":
        return "?$p"
      case "?u":
        return "?u"
      case ">m":
        return "?m"
      default:
        return undefined
    }
  }
  if (kind === "dcs") {
    const text = LATIN1.decode(bytes.subarray(from + 2, Math.min(to, from + 8)))
    if (text.startsWith(">|")) return ">q"
    if (text.startsWith("!|")) return "=c"
    return /^[01]?([$+])r/.exec(text)?.[1]?.concat("q")
  }
  if (kind !== "osc") return undefined
  const number = COLOUR_ANSWER.exec(LATIN1.decode(bytes.subarray(from, Math.min(to, from + 8))))?.[1]
  return number === undefined ? undefined : `osc${number}`
}

/**
 * Whether a token of the input is a report that a mode asked for once and the terminal sends whenever something
 * happens: mouse (SGR and urxvt), focus, theme, size of the window.
 */
export function isReport(kind: TokenKind, bytes: Uint8Array, from: number, to: number): boolean {
  if (kind !== "csi") return false
  const sequence = readControlSequence(bytes, from, to)
  if (sequence === undefined) return false
  const { name, params } = sequence
  if (name === "<M" || name === "<m") return true
  if (name === "M") return params.length === 3
  if (name === "I" || name === "O") return params.length === 0
  return (name === "?n" && params[0] === 997) || (name === "t" && params[0] === 48)
}
