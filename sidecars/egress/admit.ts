/** Everything that is decided on a request before a connection is made for it. */
import { stripTarget } from "../../src/policy/credentials.ts"
import {
  credentialMissing,
  describeRequest,
  hostMismatch,
  placeholderMisused,
  type Subject,
  upgradeNotAllowed,
} from "../../src/policy/denials.ts"
import { hostInUrl } from "../../src/policy/host.ts"
import { INTERNAL_HOST } from "../../src/policy/paths.ts"
import { type CompiledRoute, decide } from "../../src/policy/route.ts"
import { type Gate, requireLedger } from "./gate.ts"
import type { CheckedHead } from "./http1/check.ts"
import type { Field, RequestHead } from "./http1/head.ts"
import type { Passage } from "./journal.ts"
import type { Live } from "./live.ts"
import { credentialField, passableFields } from "./outgoing.ts"
import { hostsOfForeignPlaceholder } from "./placeholder.ts"
import { Refused } from "./refused.ts"
import { type Destination, destinationOf, HostMismatch, type Tunnel } from "./request.ts"
import { secretsOf } from "./secrets.ts"

/** A request that may go out. */
export interface Allowed {
  head: RequestHead
  checked: CheckedHead
  destination: Destination
  route: CompiledRoute
  /** Target that is sent, without credentials in its query */
  forward: string
  /** Fields that pass, without credentials */
  fields: Field[]
  /** Field that is added, if any */
  credential: { name: string; value: string } | undefined
  /** What must not come back, if a credential is added */
  secrets: readonly string[] | undefined
  /** For refusals */
  subject: Subject
  /** Rules that it was decided on */
  live: Live
  /** Time the head was complete, in ms of `performance.now()` */
  startedAt: number
}

/**
 * Destination, decision, placeholder, strip, look, credential, in this order. `internal` is the target of a request for
 * the gateway's own host. Throws Refused.
 */
export function admit(
  gate: Gate,
  head: RequestHead,
  checked: CheckedHead,
  tunnel: Tunnel | undefined,
): Allowed | { internal: string } {
  const startedAt = performance.now()
  const { live } = gate
  const destination = destine(gate, head, checked, tunnel)
  if (destination.host === INTERNAL_HOST) return { internal: destination.target }
  const subject = subjectOf(gate, head, destination)
  requireLedger(gate, subject)
  const { host, port, scheme, target } = destination
  const decision = decide(live.table, { method: head.method, host, port, scheme, target })
  if (!decision.allow) throw new Refused(403, decision.denial)
  const { route } = decision
  const owners = hostsOfForeignPlaceholder(live.policy.placeholders, host, head)
  if (owners !== undefined) throw new Refused(403, placeholderMisused(subject, owners.join(", ")))
  // A client that only offers an upgrade is refused too: to drop the offer would hide that it cannot work here.
  if (checked.upgrade !== "") throw new Refused(403, upgradeNotAllowed(subject, checked.upgrade))
  const forward = stripTarget(decision.forward, { host, method: head.method }).target
  const fields = passableFields(head, checked, route.auth)
  const allowed: Allowed = {
    head,
    checked,
    destination,
    route,
    forward,
    fields,
    credential: undefined,
    secrets: undefined,
    subject,
    live,
    startedAt,
  }
  // An inspector looks here, at `forward`, `fields` and the body's pieces in `sendRequest`: after what could be a
  // credential of the client's own is gone, and before ours is there.
  return route.auth === undefined ? allowed : withCredential(gate, allowed, route.auth)
}

function destine(
  gate: Gate,
  head: RequestHead,
  checked: CheckedHead,
  tunnel: Tunnel | undefined,
): Destination {
  try {
    return destinationOf(head, checked, tunnel)
  } catch (error) {
    if (!(error instanceof HostMismatch)) throw error
    const subject = subjectOf(gate, head, error.destination)
    throw new Refused(403, hostMismatch(subject, error.destination.host, error.header))
  }
}

function withCredential(gate: Gate, allowed: Allowed, auth: NonNullable<CompiledRoute["auth"]>): Allowed {
  const secret = gate.keys.tokens.get(auth.credential)
  const field = secret === undefined || secret === "" ? undefined : credentialField(auth.scheme, secret)
  if (secret === undefined || field === undefined || allowed.destination.scheme !== "https") {
    throw new Refused(403, credentialMissing(allowed.subject, allowed.destination.host))
  }
  return { ...allowed, credential: field, secrets: secretsOf(auth.scheme, secret) }
}

export function subjectOf(gate: Gate, head: RequestHead, destination: Destination): Subject {
  const standard = destination.port === (destination.scheme === "https" ? 443 : 80)
  const host = hostInUrl(destination.host)
  const authority = standard ? host : `${host}:${destination.port}`
  const what = describeRequest(head.method, destination.scheme, authority, withoutQuery(destination.target))
  return { identity: gate.live.policy.identity, what }
}

/** What the journal says of a request: `status` is 0 when no answer came, `up` and `down` are bytes of the bodies. */
export function passageOf(allowed: Allowed, status: number, up: number, down: number): Passage {
  return {
    method: allowed.head.method,
    host: allowed.destination.host,
    path: withoutQuery(allowed.forward),
    status,
    up,
    down,
    ms: performance.now() - allowed.startedAt,
    auth: allowed.route.auth?.scheme ?? "",
  }
}

export function withoutQuery(target: string): string {
  const mark = target.indexOf("?")
  return mark < 0 ? target : target.slice(0, mark)
}
