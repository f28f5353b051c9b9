/** What a rule is, and the two forms that most of them have. */
import type { Severity } from "./finding.ts"

/** Alphabets that a run of characters is counted in. */
export type Alphabet = "digits" | "hex" | "alnum" | "token" | "visible"

/** A condition that every match meets and that costs next to nothing to ask. */
export interface Run {
  /** Alphabet of the run: `token` is letters, digits, `_-+/=.~`; `visible` is ASCII without blanks and quotes */
  readonly of: Alphabet
  /** Fewest characters in a row, anywhere from the keyword's first character to `after` */
  readonly least: number
}

export interface Rule {
  /** Name in findings and the ledger, kebab-case */
  readonly id: string
  /** What is found, as a noun phrase */
  readonly description: string
  /** Literals in lower case, at least 3 characters each: without one of them nothing can match */
  readonly keywords: readonly string[]
  /** Pattern in RE2 syntax */
  readonly pattern: string
  /** Characters before the keyword that the pattern may reach */
  readonly before: number
  /** Characters from the keyword's first one on that the pattern may reach */
  readonly after: number
  /** Condition asked before the pattern */
  readonly run: Run
  /** Capture group that is the secret; absent = the whole match */
  readonly secret?: number
  /** Least entropy of the secret, in bits per character */
  readonly entropy?: number
  /** Check of the secret by name */
  readonly check?: CheckName
  /** Consequence of a match */
  readonly severity: Severity
}

/** Checks that a pattern cannot express. */
export type CheckName =
  | "aws-id"
  | "aws-secret"
  | "card"
  | "iban"
  | "jwt"
  | "mixed"
  | "password"
  | "pem"
  | "us-ssn"

type Extra = Partial<Omit<Rule, "id" | "description">>

/** Bits per character under which a token is someone's placeholder: `ghp_xxxxxxxx`. */
const PLACEHOLDER_ENTROPY = 2.5

/** Characters that the pattern of an assignment may have between the vendor's name and the value. */
const ASSIGNED_GAP = 64

/** Begins where no other token goes on */
const EDGE = "(?:^|[^A-Za-z0-9+/_-])"

const SHORT_WORD = /^[A-Za-z0-9+/]{1,7}$/

/** The body's alphabets, as RE2 classes. */
export const HEX = "[0-9a-fA-F]"
export const LOWER_HEX = "[0-9a-f]"
export const DIGIT = "[0-9]"
export const ALNUM = "[A-Za-z0-9]"
export const LOWER = "[a-z0-9]"
export const UPPER = "[A-Z0-9]"
export const WORD = "[A-Za-z0-9_]"
export const URL64 = "[A-Za-z0-9_-]"
export const BASE64 = "[A-Za-z0-9+/]"
export const UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

/** A literal as a pattern. */
export function quote(literal: string): string {
  return literal.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&")
}

/**
 * A token known by how it begins: the prefix, then at least `least` characters of the class. What stands around it does
 * not count, so that a letter put before or after hides nothing. Only with `edges`, nothing of base64 may stand before
 * it: for prefixes that words end in, and for short ones of letters and digits alone, of which every picture in base64
 * has some.
 */
export function token(
  id: string,
  description: string,
  prefixes: string | readonly string[],
  body: string,
  least: number,
  extra: Extra & { readonly edges?: boolean } = {},
): Rule {
  const list = typeof prefixes === "string" ? [prefixes] : prefixes
  const { edges = list.some((prefix) => SHORT_WORD.test(prefix)), ...rest } = extra
  const start = list.length === 1 ? quote(list[0]!) : `(?:${list.map(quote).join("|")})`
  const longest = Math.max(...list.map((prefix) => prefix.length))
  const shortest = Math.min(...list.map((prefix) => prefix.length))
  return {
    id,
    description,
    keywords: list.map((prefix) => prefix.toLowerCase()),
    pattern: edges ? `${EDGE}(${start}${body}{${least},})` : `${start}${body}{${least},}`,
    before: edges ? 1 : 0,
    after: longest + least + 160,
    run: { of: "token", least: Math.min(shortest, 2) + least },
    entropy: PLACEHOLDER_ENTROPY,
    severity: "block",
    ...(edges ? { secret: 1 } : {}),
    ...rest,
  }
}

/**
 * A value that only its surroundings tell: the vendor's name, at most a few words, an assignment (`=`, `:`, `=>`, a
 * comma, a blank in a header), then a value of exactly this shape.
 */
export function assigned(
  id: string,
  description: string,
  names: string | readonly string[],
  value: string,
  run: Run,
  extra: Extra = {},
): Rule {
  const list = typeof names === "string" ? [names] : names
  const start = list.length === 1 ? quote(list[0]!) : `(?:${list.map(quote).join("|")})`
  return {
    id,
    description,
    keywords: list,
    pattern: `(?i:${start})[\\w. \\t-]{0,32}["'\`\\]]{0,2}[ \\t]{0,4}(?:=|:|=>|:=|\\|\\||,)[ \\t"'\`=]{0,6}(${value})(?:[^A-Za-z0-9_/+.-]|$)`,
    before: 0,
    after: Math.max(...list.map((name) => name.length)) + ASSIGNED_GAP + run.least * 2 + 64,
    run,
    secret: 1,
    entropy: 3,
    check: "mixed",
    severity: "block",
    ...extra,
  }
}

/** A value whose form the pattern alone says. Reaches one character back and 64 on, unless told otherwise. */
export function shape(
  id: string,
  description: string,
  keywords: string | readonly string[],
  pattern: string,
  run: Run,
  extra: Extra = {},
): Rule {
  const list = typeof keywords === "string" ? [keywords] : keywords
  return { id, description, keywords: list, pattern, before: 1, after: 64, run, severity: "block", ...extra }
}
