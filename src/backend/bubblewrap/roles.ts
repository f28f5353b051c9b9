/**
 * As whom the processes of a bottle run on this machine. An ordinary user's are that user's own, in user namespaces.
 * Root's never are root's: bwrap started by root can change the host from inside, so each role of each bottle gets a
 * number that no other has.
 */
import { createHash } from "node:crypto"
import { callerUid } from "../../runtime/home.ts"

/**
 * First number for roles: behind the ranges that distributions and systemd give to users and containers (which end at
 * 1,879,048,191), and below 2^31, where some tools begin to see a negative number.
 */
const FIRST = 1_900_000_000
/** Bottles that have numbers of their own; of more than some thousand at once two might share one. */
const BOTTLES = 60_000_000
const ROLES = ["agent", "egress"] as const

export type Role = (typeof ROLES)[number]

/** User and group id of a role, or undefined for the caller's own. */
export function uidOf(identity: string, role: Role, caller = callerUid()): number | undefined {
  if (caller !== 0) return undefined
  const slot = createHash("sha256").update(identity).digest().readUIntBE(0, 6) % BOTTLES
  return FIRST + slot * ROLES.length + ROLES.indexOf(role)
}
