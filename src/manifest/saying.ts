/** How a rule of the schema says what is wrong: zod carries one text, so the first line is the fault, the rest its fix. */

/** A verdict on a value: undefined when it is right, else made by `says`. */
export type Verdict = string | undefined

export function says(text: string, fix = ""): string {
  return fix === "" ? text : `${text}\n${fix}`
}

/** The two parts of a text made by `says`. */
export function saidParts(message: string): { text: string; fix: string } {
  const end = message.indexOf("\n")
  return end < 0 ? { text: message, fix: "" } : { text: message.slice(0, end), fix: message.slice(end + 1) }
}
