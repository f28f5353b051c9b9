/** `bottle log <identity>`: the ledger, live from the gateway or from the state when the bottle has ended. */
import { defineCommand } from "citty"
import { recallHead } from "../bottle/ledger-head.ts"
import { showableJson } from "../policy/denial.ts"
import { EMPTY_HEAD, type LedgerEntry, type LedgerHead, verify } from "../policy/ledger.ts"
import { BottleError } from "../runtime/error.ts"
import { paint, print, tell } from "../runtime/output.ts"
import { readKeptLedger } from "../session/kept-ledger.ts"
import { type FoundBottle, findBottle, withGateway } from "./bottles.ts"
import { cliContext, FORMAT_ARG, formatOf } from "./context.ts"
import { entryLine } from "./log-line.ts"

export default defineCommand({
  meta: { name: "bottle log", description: "Read the ledger: everything a bottle's gateway did" },
  args: {
    identity: { type: "positional", required: true, description: "as `bottle list active` shows it" },
    follow: { type: "boolean", alias: "f", description: "go on as entries come, until the bottle ends" },
    verify: { type: "boolean", description: "check that no entry was changed, removed or added" },
    format: FORMAT_ARG,
  },
  async run({ args }) {
    const { home } = cliContext()
    const bottle = await findBottle(home, args.identity)
    const format = formatOf(args.format)
    const active = (await bottle.backend.list()).find((other) => other.identity === bottle.state.identity)
    // A gateway that is gone while its agent lives leaves what it wrote in its volume.
    const live = active?.status === "running"
    if (args.verify) return check(bottle, live)
    const colour = paint("stdout")
    const show = (entry: LedgerEntry) =>
      print(format === "json" ? showableJson(entry) : entryLine(entry, colour))
    if (!live) {
      for await (const entry of readKeptLedger(bottle)) show(entry)
      return 0
    }
    await withGateway(bottle, async (client) => {
      for await (const entry of client.ledger(0, args.follow === true)) show(entry)
    })
    return 0
  },
})

async function check(bottle: FoundBottle, live: boolean): Promise<number> {
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
  tell(`${paint("stderr").good("whole")} ${identity}: ${head.seq} entries in one chain${contact}`)
  return 0
}
