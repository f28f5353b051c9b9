/** `bottle log <identity>`: the ledger, live from the gateway or from the state when the bottle has ended. */
import { defineCommand } from "citty"
import { showableJson } from "../policy/denial.ts"
import type { LedgerEntry } from "../policy/ledger.ts"
import { paint, print, tell } from "../runtime/output.ts"
import { readKeptLedger } from "../session/kept-ledger.ts"
import { findBottle, withGateway } from "./bottles.ts"
import { cliContext, FORMAT_ARG, formatOf } from "./context.ts"
import { checkLedger } from "./ledger-check.ts"
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
    if (args.verify) {
      const found = await checkLedger(bottle, live)
      tell(`${paint("stderr").good("whole")} ${bottle.state.identity}: ${found}`)
      return 0
    }
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
