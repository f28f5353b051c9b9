/**
 * The host's memory of a bottle's ledger. A gateway that was taken over could cut its ledger short or write it anew;
 * it cannot make the host forget how far the ledger had come, because what the host remembers carries a code under a
 * key that never enters a bottle.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import { join } from "node:path"
import * as z from "zod/mini"
import { once } from "../policy/lazy.ts"
import { type LedgerFault, type LedgerHead, ledgerHead } from "../policy/ledger.ts"
import { createDurably, fileError, readBounded, writeDurably } from "../runtime/durable-file.ts"
import { BottleError } from "../runtime/error.ts"
import { waitForLock } from "../runtime/lock-file.ts"
import type { State } from "./state-folder.ts"

/** Length of the key, in bytes: that of the hash's output (RFC 2104, section 3) */
const KEY_BYTES = 32
/** Largest file of a remembered head, in bytes */
const HEAD_MAX_BYTES = 4096
/** Time that another command may take to write the same head, in milliseconds */
const LOCK_WAIT_MS = 5_000

const remembered = once(() =>
  z.strictObject({
    /** Schema version of this file */
    version: z.literal(1),
    head: ledgerHead(),
    /** HMAC-SHA256 over identity and head, hex */
    mac: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
  }),
)

export type Recalled = { head: LedgerHead | undefined } | { fault: LedgerFault }

/**
 * Remembers how far the ledger has come. Answers with a fault, and remembers nothing, when the ledger went back, has
 * another entry at the same number, or when what was remembered had been changed. `begun` is what was remembered before
 * the gateway was asked, absent for now: of two commands at once the one with the older answer may come here last.
 */
export async function rememberHead(
  state: State,
  head: LedgerHead,
  begun?: Recalled,
): Promise<{ head: LedgerHead } | { fault: LedgerFault }> {
  using _ = await waitForLock(`${state.ledgerHead}.lock`, LOCK_WAIT_MS)
  const now = await recallHead(state)
  if ("fault" in now) return now
  const before = begun ?? now
  if ("fault" in before) return before
  const fault =
    faultAfter(before.head, head) ?? (now.head?.seq === head.seq ? faultAfter(now.head, head) : undefined)
  if (fault !== undefined) return { fault }
  if (now.head !== undefined && head.seq <= now.head.seq) return { head: now.head }
  const mac = authenticate(await ledgerKey(state.home), state.identity, head)
  await writeDurably(state.ledgerHead, `${JSON.stringify({ version: 1, head, mac })}\n`)
  return { head }
}

/** What is wrong with a head that is told after another one was known. */
function faultAfter(known: LedgerHead | undefined, head: LedgerHead): LedgerFault | undefined {
  if (known === undefined || head.seq > known.seq) return undefined
  if (head.seq < known.seq) {
    const reason = `the ledger ends at entry ${head.seq} and had come to ${known.seq}: entries were removed`
    return { seq: head.seq, reason }
  }
  if (head.hash === known.hash) return undefined
  return { seq: head.seq, reason: "the entry is not the one that was there before" }
}

/** How far the ledger had come at the last contact; no head before the first one. */
export async function recallHead(state: State): Promise<Recalled> {
  const content = await readBounded(state.ledgerHead, HEAD_MAX_BYTES)
  if (content === undefined) return { head: undefined }
  const changed = {
    fault: { seq: 0, reason: `${state.ledgerHead} was changed by something other than bottle` },
  }
  let value: unknown
  try {
    value = JSON.parse(content.toString("utf8"))
  } catch {
    return changed
  }
  const read = remembered().safeParse(value)
  if (!read.success) return changed
  const { head, mac } = read.data
  const expected = authenticate(await ledgerKey(state.home), state.identity, head)
  return timingSafeEqual(Buffer.from(mac, "hex"), Buffer.from(expected, "hex")) ? { head } : changed
}

/** The code covers the identity, so that one bottle's memory does not pass for another's. */
function authenticate(key: Buffer, identity: string, head: LedgerHead): string {
  return createHmac("sha256", key)
    .update(JSON.stringify(["bottle ledger head 1", identity, head.seq, head.hash]))
    .digest("hex")
}

/** The key of this home, made on first use; of two commands at once exactly one makes it. */
async function ledgerKey(home: string): Promise<Buffer> {
  const path = join(home, "ledger.key")
  try {
    const present = (await readBounded(path, KEY_BYTES)) ?? (await makeKey(path))
    if (present.length === KEY_BYTES) return present
  } catch (error) {
    throw fileError("The key of the ledgers cannot be read", error)
  }
  throw new BottleError({
    what: "The key of the ledgers cannot be read",
    why: `${path} does not hold ${KEY_BYTES} bytes: it was changed or cut short`,
    next: "Put it back from a backup; without it the ledgers of earlier bottles can no longer be vouched for",
  })
}

async function makeKey(path: string): Promise<Buffer> {
  const key = randomBytes(KEY_BYTES)
  if (await createDurably(path, key)) return key
  const present = await readBounded(path, KEY_BYTES)
  if (present === undefined) throw new Error(`${path} came and went`)
  return present
}
