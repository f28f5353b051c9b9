/** What doctor found, as a table for people and as data. */
import type { BackendNeeds } from "../../backend/registry.ts"
import type { Need } from "../../backend/types.ts"
import { showable } from "../../policy/denial.ts"
import { type Paint, pad, widthOf } from "../../runtime/output.ts"
import { wrapped } from "../error-text.ts"

export interface Findings {
  backends: BackendNeeds[]
  /** What bottle needs besides, whatever the backend */
  needs: Need[]
}

/** Longest reason that is shown, in characters: it may quote a tool */
const FOUND_MAX = 400
/** Columns of `note` and the gap behind it */
const WORD = 6
/** Columns before a command that mends */
const MEND = 8

/** Whether a bottle can be started on it. */
export function works({ served, needs }: BackendNeeds): boolean {
  return served && needs.length > 0 && missing(needs).length === 0
}

export function findingsData({ backends, needs }: Findings) {
  return {
    ok: backends.some(works),
    backends: backends.map((found) => ({
      name: found.backend,
      served: found.served,
      ok: works(found),
      needs: found.needs,
    })),
    needs,
  }
}

/** Lines of at most `width` columns, but for a path or a word that is longer itself. */
export function findingsText({ backends, needs }: Findings, width: number, colour: Paint): string {
  const all = [...backends.flatMap((found) => found.needs), ...needs]
  const name = Math.max(0, ...all.map((need) => widthOf(need.name))) + 2
  const lines = (group: Need[]) => group.flatMap((need) => needLines(need, name, width, colour))
  const working = backends.filter(works).map(({ backend }) => backend)
  const verdict =
    working.length === 0
      ? colour.bad("No backend works here yet: mend what says no in one of them.")
      : colour.good(`Works here: ${working.join(", ")}.`)
  return [
    ...backends.flatMap((found) => [heading(found, colour), ...lines(found.needs), ""]),
    colour.strong("this machine"),
    ...lines(needs),
    "",
    verdict,
  ].join("\n")
}

/** One backend alone, as `findingsText` has it among the others. */
export function backendText(found: BackendNeeds, width: number, colour: Paint): string {
  const name = Math.max(0, ...found.needs.map((need) => widthOf(need.name))) + 2
  const lines = found.needs.flatMap((need) => needLines(need, name, width, colour))
  return [heading(found, colour), ...lines].join("\n")
}

function heading(found: BackendNeeds, colour: Paint): string {
  const lacks = missing(found.needs).map((need) => need.name)
  const says = [
    ...(lacks.length > 0 ? [colour.bad(`does not work: ${lacks.join(", ")}`)] : []),
    ...(found.served ? [] : [colour.dim("known, and not served by this version yet")]),
  ]
  return `${colour.strong(found.backend)}  ${works(found) ? colour.good("works") : says.join("; ")}`
}

function missing(needs: Need[]): Need[] {
  return needs.filter((need) => need.required && !need.ok)
}

function needLines(need: Need, nameWidth: number, width: number, colour: Paint): string[] {
  // The word says it too: not everybody sees the colour, and a pipe has none.
  const word = need.ok ? colour.good("ok") : need.required ? colour.bad("no") : colour.warn("note")
  const indent = 2 + WORD + nameWidth
  const [first = "", ...more] = wrapped(showable(need.found, FOUND_MAX), Math.max(20, width - indent))
  return [
    `  ${pad(word, WORD)}${pad(need.name, nameWidth)}${first}`.trimEnd(),
    ...more.map((line) => " ".repeat(indent) + line),
    ...mendLines(need.mend, width - MEND).map((line) => " ".repeat(MEND) + colour.name(line)),
  ]
}

/** A command on its own lines, folded as a shell takes it: nothing in it is lost when it is copied. */
export function mendLines(mend: string, width: number): string[] {
  if (mend === "") return []
  return mend.split("\n").flatMap((line) => {
    const whole = showable(line, Number.POSITIVE_INFINITY)
    // Within quotes a fold would be a part of the text.
    if (widthOf(whole) <= width || /["']/.test(whole)) return [whole]
    const parts = wrapped(whole, Math.max(20, width - 4))
    return parts.map((part, i) => `${i === 0 ? "" : "  "}${part}${i < parts.length - 1 ? " \\" : ""}`)
  })
}
