/** The ledger of a bottle that has ended: copied to its state, or still in what its backend left. */
import { createReadStream } from "node:fs"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import type { Backend } from "../backend/types.ts"
import type { State } from "../bottle/state-folder.ts"
import { LEDGER_LINE_MAX, type LedgerEntry, ledgerEntry } from "../policy/ledger.ts"
import { BottleError } from "../runtime/error.ts"
import { readLines } from "../runtime/lines.ts"

const SEGMENT = /^ledger-\d{6}\.jsonl$/

/** Throws a BottleError for a line that is no entry. */
export async function* readKeptLedger(bottle: {
  state: State
  backend: Backend
}): AsyncGenerator<LedgerEntry> {
  const { state, backend } = bottle
  // An ended bottle that nobody settled yet still has it in its volume.
  await backend.collect(state.identity, { ledger: state.ledger, log: state.log })
  const names = (await readdir(state.ledger)).filter((name) => SEGMENT.test(name)).sort()
  for (const name of names) {
    const path = join(state.ledger, name)
    for await (const line of readLines(createReadStream(path), LEDGER_LINE_MAX)) {
      if (line !== "") yield parse(line, path)
    }
  }
}

function parse(line: string, path: string): LedgerEntry {
  try {
    return ledgerEntry().parse(JSON.parse(line))
  } catch (error) {
    throw new BottleError({ what: `${path} holds a line that is no ledger entry`, cause: error })
  }
}
