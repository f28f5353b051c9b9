/** Which rules a scanner has. */
import { randomBytes } from "node:crypto"
import type { Rule } from "./rule.ts"

/** Rule of findings about wallets' seed phrases */
export const SEED_PHRASE = "bip39-seed-phrase"

export interface Ruleset {
  readonly rules: readonly Rule[]
  /** Whether seed phrases are looked for: twelve ordinary words in a row, so only where it is asked for */
  readonly seedPhrases: boolean
  /** What the scanner proves itself with: a rule of the set, and a fresh value that it must find */
  readonly proof: { readonly rule: string; sample(): string }
}

/** The rule that proves: GitHub's classic tokens, which carry no structure beyond their shape */
export const PROOF_RULE = "github-pat"

/** A value of the proving rule's shape, 36 random letters and digits long. */
export function proofSample(): string {
  const body = randomBytes(96).toString("base64").replace(/[+/=]/g, "").slice(0, 36)
  return `ghp${"_"}${body}`
}
