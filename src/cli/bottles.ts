/** Finding a bottle by its identity, for the verbs that work on one that exists. */
import { backendNamed } from "../backend/registry.ts"
import type { Backend } from "../backend/types.ts"
import type { Metadata } from "../bottle/metadata.ts"
import { openState, readMetadata } from "../bottle/state.ts"
import type { State } from "../bottle/state-folder.ts"
import { ControlClient } from "../gateway/control-client.ts"
import { BottleError } from "../runtime/error.ts"
import { headKeeper } from "../session/ledger-heads.ts"

export interface FoundBottle {
  state: State
  metadata: Metadata
  backend: Backend
}

/** The bottle of that identity. Throws a BottleError when there is none, or when its start was cut short. */
export async function findBottle(home: string, identity: string): Promise<FoundBottle> {
  const state = await openState(home, identity)
  const metadata = await readMetadata(state)
  if (metadata === undefined) {
    throw new BottleError({
      what: `${identity} was never finished`,
      why: "its start was cut short",
      next: "Run `bottle cleanup`, then start again",
    })
  }
  return { state, metadata, backend: await backendNamed(metadata.backend, home) }
}

/** Speaks with the gateway of a running bottle, and remembers its ledger's head. */
export async function withGateway<T>(
  bottle: FoundBottle,
  work: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const keep = headKeeper(bottle.state)
  await using client = new ControlClient(
    bottle.state.identity,
    bottle.backend.control(bottle.state.identity),
    keep.onHead,
  )
  const result = await work(client)
  await keep.settled()
  return result
}
