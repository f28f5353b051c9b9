/** What all connections of egress share. */
import { mayDial } from "../../src/policy/address.ts"
import { type Subject, tooBusy } from "../../src/policy/denials.ts"
import type { CompiledRoute } from "../../src/policy/route.ts"
import type { Journal } from "./journal.ts"
import type { Keys, Live } from "./live.ts"
import type { Outbox } from "./outbox.ts"
import type { Pool } from "./pool.ts"
import { Refused } from "./refused.ts"

/** Something under way that a new policy may end. */
export interface Flight {
  /** Whether the policy that is live now still allows it */
  allowed(): boolean
  /** Ends it at once */
  abort(): void
}

export interface Gate {
  keys: Keys
  /** Read for each request: a new policy holds from the next one on */
  live: Live
  readonly pool: Pool
  readonly journal: Journal
  readonly outbox: Outbox
  readonly flights: Set<Flight>
}

/** Puts a policy in force and ends what it no longer allows. */
export function enforce(gate: Gate, live: Live): void {
  gate.live = live
  for (const flight of gate.flights) if (!flight.allowed()) flight.abort()
}

/** What cannot be written down must not happen: init is behind by megabytes or gone. Throws Refused. */
export function requireLedger(gate: Gate, subject: Subject): void {
  if (gate.outbox.full) throw new Refused(503, tooBusy(subject, "what its ledger can take"))
}

/** Whether the route lets an address be dialled. */
export function addressAllowed(
  gate: Gate,
  route: CompiledRoute,
  address: string,
): ReturnType<typeof mayDial> {
  return mayDial(address, { private: route.privateRanges, hostAddresses: gate.live.hostAddresses })
}
