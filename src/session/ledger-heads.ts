/** Remembers the ledger's head at each contact with a gateway, so that a ledger cut short later is found out. */
import { recallHead, rememberHead } from "../bottle/ledger-head.ts"
import type { State } from "../bottle/state-folder.ts"
import type { LedgerHead } from "../policy/ledger.ts"
import { BottleError } from "../runtime/error.ts"

export interface HeadKeeper {
  onHead(head: LedgerHead): void
  /** Waits for what was begun. Throws a BottleError when the ledger went back. */
  settled(): Promise<void>
}

/** Made before the gateway is asked: what is known by then is what its answers are held against. */
export function headKeeper(state: State): HeadKeeper {
  const begun = recallHead(state)
  // Told when something is to be remembered.
  begun.catch(() => {})
  let last: LedgerHead | undefined
  return {
    onHead: (head) => {
      last = head
    },
    settled: async () => {
      if (last === undefined || last.seq === 0) return
      const result = await rememberHead(state, last, await begun)
      if ("head" in result) return
      throw new BottleError({
        what: `The ledger of ${state.identity} is not the one it was`,
        why: result.fault.reason,
        next: `Treat the gateway as compromised: \`bottle stop ${state.identity}\`, then \`bottle log ${state.identity} --verify\``,
      })
    },
  }
}
