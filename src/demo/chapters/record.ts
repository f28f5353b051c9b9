/** What is on record afterwards. */
import { entryLine } from "../../cli/log-line.ts"
import type { LedgerEntry } from "../../policy/ledger.ts"
import type { Paint } from "../../runtime/output.ts"
import type { Chapter, Step } from "../step.ts"

const ledger: Step = {
  name: "ledger",
  who: "you",
  tried: ({ identity }) => `bottle log ${identity} --verify`,
  async run(stage) {
    const { entries, whole, says } = await stage.ledger()
    const has = (kind: string, host: string) =>
      entries.some((entry) => entry.kind === kind && entry.data.host === host)
    const complete = has("allow", stage.allowed) && has("deny", stage.closed) && has("allow", stage.closed)
    const leaked = JSON.stringify(entries).includes(stage.token)
    const holds = whole && complete && !leaked
    return {
      holds,
      seen: [...entries.filter(isTold).map((entry) => entryLine(entry, PLAIN)), says],
      says: holds
        ? "What passed and what was refused is on record, and unaltered"
        : leaked
          ? "The record holds the real token"
          : !complete
            ? "Calls are missing in the record"
            : "The record is not what the gateway wrote",
    }
  },
}

/** What happened, without the coming and going of the gateway's own parts. */
function isTold({ by, kind }: LedgerEntry): boolean {
  return by === "egress" && (kind === "allow" || kind === "deny")
}

const same = (text: string) => text
const PLAIN: Paint = { strong: same, dim: same, good: same, warn: same, bad: same, name: same }

export const RECORD: Chapter = {
  title: "All of it is on record",
  steps: [ledger],
}
