/** Whether a bottle's ledger is what its gateway wrote: one chain, and nothing of what was known taken away. */
import { recallHead } from "../bottle/ledger-head.ts"
import { EMPTY_HEAD, type LedgerEntry, type LedgerHead, verify } from "../policy/ledger.ts"
import { BottleError } from "../runtime/error.ts"
import { readKeptLedger } from "../session/kept-ledger.ts"
import { type FoundBottle, withGateway } from "./bottles.ts"

/** Answers with what was found, for people. Throws a BottleError that names the first entry that does not hold. */
export async function checkLedger(bottle: FoundBottle, live: boolean): Promise<string> {
  const { identity } = bottle.state
  const recalled = await recallHead(bottle.state)
  const known = "head" in recalled ? recalled.head : undefined
  const broken = (seq: number, why: string) =>
    new BottleError({
      what: `The ledger of ${identity} does not hold at entry ${seq}`,
      why,
      next: "Do not trust what it says from there on",
    })
  let head: LedgerHead = EMPTY_HEAD
  // Entry by entry: a ledger may be larger than memory.
  const read = async (from: AsyncIterable<LedgerEntry>) => {
    for await (const entry of from) {
      const result = verify([entry], head)
      if ("fault" in result) throw broken(result.fault.seq, result.fault.reason)
      if (entry.seq === known?.seq && entry.hash !== known.hash)
        throw broken(entry.seq, "it is not the entry that was there at the last contact")
      head = result.head
    }
  }
  if (live) await withGateway(bottle, (client) => read(client.ledger(0, false)))
  else await read(readKeptLedger(bottle))
  if ("fault" in recalled) throw broken(recalled.fault.seq, recalled.fault.reason)
  if (known !== undefined && known.seq > head.seq)
    throw broken(known.seq, `it ends at entry ${head.seq}: entries were removed`)
  const contact = known === undefined ? "" : `, entry ${known.seq} as at the last contact`
  return `${head.seq} entries in one chain${contact}`
}
