/** Which editor the person uses, as an argv. */
import { usageError } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"

/** The editor every POSIX system has */
const FALLBACK = "vi"

/** `$VISUAL`, else `$EDITOR`, else vi, split into words; no shell ever sees it. */
export function editorArgv(env: HostEnv): string[] {
  for (const name of ["VISUAL", "EDITOR"]) {
    const given = env[name]?.trim()
    if (given === undefined || given === "") continue
    const words = splitWords(given)
    if (words?.[0]) return words
    throw usageError(
      `$${name} is not a command: ${given}`,
      `Set it to one, as in: export ${name}="code --wait"`,
    )
  }
  return [FALLBACK]
}

/**
 * Splits a command into words as a POSIX shell does (quotes, backslashes), without expanding anything. Undefined when
 * a quote stays open.
 */
export function splitWords(text: string): string[] | undefined {
  const words: string[] = []
  let word: string | undefined
  let quote = ""
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!
    if (quote === "'") {
      if (character === "'") quote = ""
      else word += character
    } else if (character === "\\") {
      const next = text[++i]
      if (next === undefined) return undefined
      // Inside double quotes a backslash only escapes these (POSIX 2.2.3).
      word = (word ?? "") + (quote === '"' && !'"\\$`'.includes(next) ? `\\${next}` : next)
    } else if (quote === '"') {
      if (character === '"') quote = ""
      else word += character
    } else if (character === "'" || character === '"') {
      quote = character
      word ??= ""
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? "") + character
  }
  if (quote !== "") return undefined
  return word === undefined ? words : [...words, word]
}
