/** One ledger entry as a line for people. */
import { showable } from "../policy/denial.ts"
import type { LedgerEntry } from "../policy/ledger.ts"
import type { Paint } from "../runtime/output.ts"

/** `12:03:44 egress allow GET api.example.com/v1 200`. What a bottle wrote is shown without control characters. */
export function entryLine(entry: LedgerEntry, colour: Paint): string {
  const { at, by, kind, data } = entry
  const mark = kind === "deny" ? colour.bad : kind === "allow" ? colour.good : colour.name
  const { method, host, path, status, rule, ...rest } = data
  const target = host === undefined ? [] : [method ?? "", `${host}${path ?? ""}`, status ?? "", rule ?? ""]
  // A route without a credential has an empty one: nothing to read.
  const told = Object.entries(host === undefined ? data : rest).filter(([, value]) => value !== "")
  const details = told.map(([key, value]) => colour.dim(`${key}=`) + show(value))
  const words = [...target.filter((part) => part !== "").map(show), ...details]
  return `${colour.dim(at.slice(11, 19))} ${by} ${mark(kind)} ${words.join(" ")}`
}

function show(value: string | number | boolean): string {
  const text = showable(String(value), 300)
  return /\s/.test(text) ? JSON.stringify(text) : text
}
