/** Finds wallets' seed phrases (BIP-39): twelve to twenty-four words of the English list with a checksum. */
import { validateMnemonic } from "@scure/bip39"
import { wordlist } from "@scure/bip39/wordlists/english.js"

const WORDS: ReadonlySet<string> = new Set(wordlist)
/** BIP-39 allows 12, 15, 18, 21 and 24 words; longer ones first, so that a whole phrase is one finding */
const LENGTHS = [24, 21, 18, 15, 12]
/** Word, and what may stand between two: blanks, line breaks, commas, quotes, list numbers; not a sentence's end */
const WORD_AND_GAP = /([a-z]{3,8})(?![a-z])([\s"',]{1,8}(?:[0-9]{1,2}[.)]?\s{1,4})?["']?)?/y

/** Whether a text of words and blanks is a phrase with a right checksum. */
export function isSeedPhrase(text: string): boolean {
  return validateMnemonic(text, wordlist)
}

/** Start and end of each phrase in a text. */
export function seedPhrases(text: string): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = []
  let words: { word: string; start: number; end: number }[] = []
  const close = () => {
    for (let from = 0; from + 12 <= words.length; from++) {
      const length = LENGTHS.find(
        (one) =>
          from + one <= words.length &&
          isSeedPhrase(
            words
              .slice(from, from + one)
              .map(({ word }) => word)
              .join(" "),
          ),
      )
      if (length === undefined) continue
      found.push({ start: words[from]!.start, end: words[from + length - 1]!.end })
      from += length - 1
    }
    words = []
  }
  const lower = text.toLowerCase()
  let at = 0
  while (at < lower.length) {
    const c = lower.charCodeAt(at)
    if (c < 0x61 || c > 0x7a) {
      at++
      continue
    }
    WORD_AND_GAP.lastIndex = at
    const match = WORD_AND_GAP.exec(lower)
    if (match !== null && WORDS.has(match[1]!)) {
      words.push({ word: match[1]!, start: at, end: at + match[1]!.length })
      at += match[0].length
      if (match[2] === undefined) close()
      continue
    }
    close()
    while (at < lower.length && lower.charCodeAt(at) >= 0x61 && lower.charCodeAt(at) <= 0x7a) at++
  }
  close()
  return found
}
