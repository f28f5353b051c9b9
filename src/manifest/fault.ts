/** Faults of a manifest: collected with their place, told together. */
import { showable } from "../policy/denial.ts"
import { BottleError } from "../runtime/error.ts"

/** Way from the top of the frontmatter to a value */
export type KeyPath = readonly (string | number)[]

export interface Fault {
  path: KeyPath
  /** Line in the file, from 1; 0 when the fault has no line */
  line: number
  /** What is wrong, as a sentence without a full stop */
  text: string
  /** What to write instead, possibly several lines; empty when the text says it all */
  fix: string
}

/** Faults told of one file; more would scroll the first out of sight */
const FAULTS_SHOWN = 5
/** Characters of a line of a message: a manifest can hold anything, so can the part of it that is quoted */
const LINE_MAX = 400

/** Carries the faults from where they are found to where the file's name is known. */
export class ManifestFaults extends Error {
  readonly faults: Fault[]

  constructor(faults: Fault[]) {
    super(faults.map((fault) => fault.text).join("; "))
    this.faults = faults
  }
}

/** A path as it is spoken of: `egress.routes[0].host`, `git.repos["my.repo"]`. */
export function keyText(path: KeyPath): string {
  let text = ""
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`
    else if (/^[\w-]+$/.test(part)) text += text === "" ? part : `.${part}`
    else text += `[${JSON.stringify(part)}]`
  }
  return text
}

/** The one error for all faults of a file. */
export function faultsError(what: string, faults: readonly Fault[], next: string): BottleError {
  const inOrder = faults.toSorted((a, b) => a.line - b.line)
  const told = inOrder.slice(0, FAULTS_SHOWN).map(faultText)
  const left = inOrder.length - told.length
  if (left > 0) told.push(`and ${left} more`)
  return new BottleError({ what, why: told.join("\n"), next })
}

function faultText(fault: Fault): string {
  const place = [fault.line > 0 ? `line ${fault.line}` : "", keyText(fault.path)].filter(
    (part) => part !== "",
  )
  const head = place.length === 0 ? fault.text : `${place.join(", ")}: ${fault.text}`
  const fix = fault.fix === "" ? [] : fault.fix.split("\n").map((line) => `    ${line}`)
  return [head, ...fix].map((line) => showable(line, LINE_MAX)).join("\n")
}
