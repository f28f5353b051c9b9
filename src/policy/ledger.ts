/**
 * The ledger: one append-only log of everything the gateway did, each entry chained to the one before by SHA-256.
 * Pure: sidecars/init writes it, `bottle log --verify` reads it.
 */
import { createHash } from "node:crypto"
import * as z from "zod/mini"
import { once } from "./lazy.ts"

/** Most details of one event: a daemon that was taken over must not make lines that no reader takes. */
const DETAILS_MAX = 24

/**
 * Longest line of a ledger, in bytes: each character of the details can take six in JSON (RFC 8259, section 7), and
 * what is around them is short.
 */
export const LEDGER_LINE_MAX = 256 * 1024

/** What a daemon reports; init adds time, number and chain. Values are never secrets, nor hold them. */
export const ledgerEvent = once(() =>
  z.strictObject({
    /** Daemon that reports: `init`, `egress`, `git-gate`, `supervise`, `inner` */
    by: z.string().check(z.regex(/^[a-z-]{1,32}$/)),
    /** Kind of event, kebab-case: `allow`, `deny`, `policy-load`, `daemon-start`, ... */
    kind: z.string().check(z.regex(/^[a-z0-9-]{1,48}$/)),
    /** Details by snake_case name, short strings and numbers only */
    data: z
      .record(
        z.string().check(z.regex(/^[a-z0-9_]{1,48}$/)),
        z.union([z.string().check(z.maxLength(1024)), z.number(), z.boolean()]),
      )
      .check(z.refine((data) => Object.keys(data).length <= DETAILS_MAX, `at most ${DETAILS_MAX} details`)),
  }),
)

export const ledgerEntry = once(() =>
  z.extend(ledgerEvent(), {
    /** Counts from 1 without gaps */
    seq: z.int().check(z.gte(1)),
    /** RFC 3339 time with milliseconds, UTC */
    at: z.string().check(z.regex(/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/)),
    /** Chain value of the entry before, hex; 64 zeros for the first */
    prev: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
    /** SHA-256 over the canonical form of this entry without `hash`, hex */
    hash: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
  }),
)

export const ledgerHead = once(() =>
  z.strictObject({
    /** Number of the last entry, 0 when there is none */
    seq: z.int().check(z.gte(0)),
    /** Chain value of the last entry */
    hash: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
  }),
)

export type LedgerEvent = z.infer<ReturnType<typeof ledgerEvent>>
export type LedgerEntry = z.infer<ReturnType<typeof ledgerEntry>>
export type LedgerHead = z.infer<ReturnType<typeof ledgerHead>>

export const EMPTY_HEAD: LedgerHead = { seq: 0, hash: "0".repeat(64) }

/** Text that the chain value covers: a JSON array in fixed order, data keys sorted. */
function canonical(entry: Omit<LedgerEntry, "hash">): string {
  const data = Object.keys(entry.data)
    .sort()
    .map((key) => [key, entry.data[key]])
  return JSON.stringify([entry.seq, entry.at, entry.prev, entry.by, entry.kind, data])
}

/** Chains one event onto a head. Returns the finished entry, which is the new head. */
export function chain(head: LedgerHead, event: LedgerEvent, at: Date): LedgerEntry {
  const entry = { ...event, seq: head.seq + 1, at: at.toISOString(), prev: head.hash }
  return { ...entry, hash: createHash("sha256").update(canonical(entry)).digest("hex") }
}

/** What is wrong with a ledger: the entry's number and the reason. */
export interface LedgerFault {
  /** Number of the first entry that does not fit */
  seq: number
  /** What does not fit, as a sentence */
  reason: string
}

/**
 * Checks a run of entries that follows `from`. Returns the head after the last one, or the first fault.
 */
export function verify(
  entries: Iterable<LedgerEntry>,
  from: LedgerHead = EMPTY_HEAD,
): { head: LedgerHead } | { fault: LedgerFault } {
  let head = from
  for (const entry of entries) {
    if (entry.seq !== head.seq + 1) {
      return { fault: { seq: entry.seq, reason: `entry ${head.seq + 1} was expected here` } }
    }
    if (entry.prev !== head.hash) {
      return { fault: { seq: entry.seq, reason: "does not continue the entry before it" } }
    }
    const { hash, ...rest } = entry
    if (createHash("sha256").update(canonical(rest)).digest("hex") !== hash) {
      return { fault: { seq: entry.seq, reason: "was changed after it was written" } }
    }
    head = { seq: entry.seq, hash }
  }
  return { head }
}
