/** Holds frontmatter against its schema and says in our own words what does not fit. */
import { stringify } from "yaml"
import type * as z from "zod/mini"
import { type Fault, type KeyPath, ManifestFaults } from "./fault.ts"
import type { Frontmatter } from "./frontmatter.ts"
import { saidParts } from "./saying.ts"
import { didYouMean } from "./suggest.ts"
import { splitWords, wordList } from "./words.ts"

type Issue = z.core.$ZodIssue

/** The data in the schema's form. Throws ManifestFaults with `more` among them. */
export function checked<Schema extends z.ZodMiniType>(
  schema: Schema,
  data: unknown,
  lineOf: Frontmatter["lineOf"],
  more: readonly Fault[] = [],
  hintOf: (path: KeyPath) => string | undefined = () => undefined,
): z.output<Schema> {
  const result = schema.safeParse(data)
  const issues = result.error?.issues ?? []
  const faults = issues.flatMap((issue) => explain(issue, data, hintOf))
  const placed = faults.map((fault) => ({ ...fault, line: lineOf(fault.path) }))
  if (placed.length + more.length > 0 || result.data === undefined) {
    throw new ManifestFaults([...more, ...placed])
  }
  return result.data
}

type Unplaced = Omit<Fault, "line">

function explain(issue: Issue, data: unknown, hintOf: (path: KeyPath) => string | undefined): Unplaced[] {
  const path = issue.path.map((part) => (typeof part === "number" ? part : String(part)))
  const value = valueAt(data, path)
  const own = saidParts(issue.message)
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey([...path, key], key, issue.message, hintOf))
    case "invalid_key": {
      const said = saidParts(issue.issues[0]?.message ?? "not a key that can be used")
      return [{ path, ...said }]
    }
    case "invalid_value": {
      const words = issue.values.map(String)
      const meant = typeof value === "string" ? didYouMean(value, words) : ""
      const text = value === undefined ? "missing" : `${shown(value)} is not a value of this key${meant}`
      return [{ path, text, fix: `Allowed: ${words.join(", ")}` }]
    }
    case "invalid_type":
      return [{ path, ...wrongType(issue.expected, value, path) }]
    case "too_big":
      if (issue.message.includes("\n")) return [{ path, ...own }]
      return [{ path, text: `more than ${issue.maximum} entries`, fix: "Make it fewer" }]
    default:
      return [{ path, ...own }]
  }
}

function unknownKey(
  path: KeyPath,
  key: string,
  allowed: string,
  hintOf: (path: KeyPath) => string | undefined,
): Unplaced {
  const hint = hintOf(path)
  if (hint !== undefined) return { path, ...saidParts(hint) }
  return { path, text: `unknown key${didYouMean(key, allowed.split(", "))}`, fix: `Allowed: ${allowed}` }
}

const TYPE_WORDS: Record<string, string> = {
  string: "text",
  boolean: "true or false",
  number: "a number",
  int: "a whole number",
  array: "a list",
  object: "a map of keys",
  record: "a map of keys",
}

function wrongType(expected: string, value: unknown, path: KeyPath): { text: string; fix: string } {
  const wanted = TYPE_WORDS[expected] ?? expected
  if (value === undefined) return { text: `missing: ${wanted} is needed`, fix: "" }
  const key = String(path.findLast((part) => typeof part === "string") ?? "")
  const write = (right: unknown) => `Write: ${stringify({ [key]: right }, STRINGIFY).trimEnd()}`
  if (expected === "string" && (typeof value === "number" || typeof value === "boolean")) {
    return { text: `${kindOf(value)} stands where text is needed`, fix: write(String(value)) }
  }
  if (expected === "array" && key === "command" && typeof value === "string") {
    const words = splitWords(value) ?? [value]
    return { text: "text stands where a list of words is needed", fix: `Write: ${key}: ${wordList(words)}` }
  }
  if (expected === "array" && ["string", "number"].includes(typeof value)) {
    return {
      text: `${kindOf(value)} stands where a list is needed`,
      fix: `Write: ${key}: [${stringify(value).trim()}]`,
    }
  }
  if (expected === "boolean" && typeof value === "string") {
    if (/^(yes|on|true)$/i.test(value))
      return { text: "text stands where true or false is needed", fix: write(true) }
    if (/^(no|off|false)$/i.test(value))
      return { text: "text stands where true or false is needed", fix: write(false) }
  }
  return { text: `${kindOf(value)} stands where ${wanted} is needed`, fix: "" }
}

const STRINGIFY = { defaultStringType: "PLAIN", defaultKeyType: "PLAIN" } as const

/** A short value as written; a long one or a map only by its kind. */
function shown(value: unknown): string {
  const plain = typeof value === "string" || typeof value === "number" || typeof value === "boolean"
  return plain && String(value).length <= 60 ? JSON.stringify(value) : kindOf(value)
}

function kindOf(value: unknown): string {
  if (value === null) return "nothing"
  if (Array.isArray(value)) return "a list"
  if (typeof value === "object") return "a map"
  return (
    { string: "text", number: "a number", boolean: "true or false" }[typeof value as string] ?? "something"
  )
}

function valueAt(data: unknown, path: KeyPath): unknown {
  let value = data
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Record<string | number, unknown>)[part]
  }
  return value
}
