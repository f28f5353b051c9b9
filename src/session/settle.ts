/** What happens to a bottle whose agent has ended: nothing to lose and it goes, anything else and it is kept. */
import type { Backend, Remains } from "../backend/types.ts"
import { type HeldState, preserve, readMetadata, removeState, writeMetadata } from "../bottle/state.ts"
import { currentOwner } from "../runtime/process-owner.ts"

export interface Settled {
  kept: boolean
  /** Why it was kept; empty when it was not */
  reason: string
}

/** `code` is the agent's exit status as its sandbox left it; absent, what inner said counts. */
export async function settleBottle(
  backend: Backend,
  state: HeldState,
  code: number | undefined,
): Promise<Settled> {
  const remains = await backend.collect(state.identity, { ledger: state.ledger, log: state.log })
  const reason = reasonToKeep(code, remains)
  if (reason === "") {
    await backend.remove(state.identity, { keepWork: false })
    await removeState(state)
    return { kept: false, reason }
  }
  const metadata = await readMetadata(state)
  if (metadata !== undefined) {
    await writeMetadata(state, {
      ...metadata,
      phase: "ended",
      owner: await currentOwner(),
      ...(remains.exit ? { exit: { ...remains.exit, at: new Date().toISOString() } } : {}),
    })
  }
  await preserve(state, reason)
  await backend.remove(state.identity, { keepWork: true })
  return { kept: true, reason }
}

function reasonToKeep(code: number | undefined, { exit }: Remains): string {
  if (exit === undefined) return "how its agent ended was not seen"
  const status = code ?? exit.code
  if (status !== 0) return `its agent ended with ${status}`
  if (exit.workspace.verdict === "kept-work") return exit.workspace.detail
  return ""
}
