/** Between a command as it is typed and its words as a manifest has them. */
import { parse } from "yaml"

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

/** Words as a list in one line of YAML: `[bash, -l]`. */
export function wordList(words: readonly string[]): string {
  return `[${words.map(yamlWord).join(", ")}]`
}

/** Bare where YAML reads the same word back; else quoted as JSON, which YAML 1.2 contains. */
function yamlWord(word: string): string {
  const bare = /^[\w./=@+-]+$/.test(word) && !/^[-+.=]+$/.test(word) && parse(word) === word
  return bare ? word : JSON.stringify(word)
}
