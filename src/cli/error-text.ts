/** A BottleError as people read it: what failed, why, what to do next. */
import type { BottleError } from "../runtime/error.ts"
import type { Paint } from "../runtime/output.ts"

/** The lines of an error, coloured by the given paint, without a newline at the end. */
export function errorText(error: BottleError, colour: Paint): string {
  const lines = [`${colour.bad("error")} ${colour.strong(error.what)}`]
  if (error.why !== "") lines.push(...indented(error.why))
  if (error.next !== "") {
    const [first, ...others] = error.next.split("\n")
    lines.push(`  ${colour.good("->")} ${first}`, ...others.map((line) => `     ${line}`))
  }
  return lines.join("\n")
}

function indented(text: string): string[] {
  return text.split("\n").map((line) => (line === "" ? "" : `  ${line}`))
}
