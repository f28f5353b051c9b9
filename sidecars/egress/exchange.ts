/**
 * An admitted request and its answer: resolve, check, dial, verify, inject, stream. Whatever goes wrong on the way ends
 * in a refusal or a closed connection, never in a forwarded byte.
 */
import {
  badRequest,
  placeholderMisused,
  upstreamProtocol,
  upstreamUnreachable,
} from "../../src/policy/denials.ts"
import { decide } from "../../src/policy/route.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { type Allowed, passageOf } from "./admit.ts"
import { forwardAnswer } from "./answer.ts"
import { addressAllowed, type Flight, type Gate } from "./gate.ts"
import { type BodyReader, BodyWriter, pump, SinkGone } from "./http1/body.ts"
import { HttpFault } from "./http1/fault.ts"
import { passableTrailers } from "./http1/hop.ts"
import { IDLE_MS, REACH_MS } from "./limits.ts"
import { passableFields, requestText } from "./outgoing.ts"
import { hostsOfForeignPlaceholder } from "./placeholder.ts"
import type { Upstream } from "./pool.ts"
import { Refused } from "./refused.ts"
import { acquire, poolKey } from "./upstream.ts"
import type { Wire } from "./wire.ts"

/** The client is gone; there is nobody to answer. */
export class ClientGone extends Error {
  override readonly name = "ClientGone"
}

/**
 * Sends an admitted request and streams its answer. True when the client's connection can take a next request.
 * Throws Refused while nothing was answered yet, ClientGone when there is nobody to answer, and anything else when the
 * answer broke off.
 */
export async function exchange(
  gate: Gate,
  client: Wire,
  allowed: Allowed,
  body: BodyReader,
): Promise<boolean> {
  const { head, checked, route, destination, subject } = allowed
  // RFC 9110 9.2.2, without DELETE and PUT: a second one may meet what another client did in between.
  const repeatable = body.done && /^(GET|HEAD|OPTIONS)$/.test(head.method) && !checked.websocket
  const key = poolKey(gate, destination)
  for (let attempt = 0; ; attempt++) {
    // The time for a head is over; what comes now may take as long as every address of the host does not answer.
    client.endAfter(REACH_MS)
    const upstream = await acquire(gate, key, destination, route, subject, {
      fresh: !repeatable,
      forceNew: attempt > 0 || checked.websocket,
    })
    const trip = new Trip(gate, client, upstream, allowed, body)
    let clean = false
    try {
      if (client.peerGone) throw new ClientGone("the client is gone")
      // The rules may have changed while this request waited for its connection.
      if (gate.live !== allowed.live && !trip.allowed()) {
        throw new Refused(503, upstreamUnreachable(subject, destination.host, "the policy changed"))
      }
      upstream.wire.idleAfter(IDLE_MS)
      client.idleAfter(IDLE_MS)
      const sending = sendRequest(gate, client, upstream, allowed, body, trip)
      const answered = await forwardAnswer(gate, client, upstream, allowed, body, sending, trip.note)
      if (answered === "nothing") {
        if (upstream.reused && repeatable && attempt === 0 && !client.peerGone) continue
        throw trip.fault ?? new Refused(502, upstreamUnreachable(subject, destination.host, trip.silence))
      }
      clean = answered.reusable && body.done && trip.sent
      return answered.keepAlive && body.done
    } catch (error) {
      trip.noteUnanswered()
      throw trip.judge(error)
    } finally {
      trip.end()
      gate.pool.release(key, upstream, clean)
    }
  }
}

/** One way of a request over one connection, as long as it lasts: what a new policy or a lost client ends. */
class Trip implements Flight {
  /** The whole request was written */
  sent = false
  /** What the client's body did wrong, if anything */
  fault: Refused | undefined
  readonly #gate: Gate
  readonly #client: Wire
  readonly #upstream: Upstream
  readonly #allowed: Allowed
  readonly #body: BodyReader
  /** Bytes that the connection had carried before this request */
  readonly #before: number
  #noted = false
  #aborted = false

  constructor(gate: Gate, client: Wire, upstream: Upstream, allowed: Allowed, body: BodyReader) {
    this.#gate = gate
    this.#client = client
    this.#upstream = upstream
    this.#allowed = allowed
    this.#body = body
    this.#before = upstream.wire.bytesOut
    gate.flights.add(this)
    // A client that gives up must not leave a model running behind it. One that only closes its sending side counts
    // as gone too, as with nginx: over TLS and through a relay the two look alike.
    client.onGone = () => upstream.wire.destroy()
  }

  get silence(): string {
    return this.#aborted ? "the policy changed" : "it closed the connection without an answer"
  }

  allowed(): boolean {
    const { head, destination, route } = this.#allowed
    const { host, port, scheme, target } = destination
    const decision = decide(this.#gate.live.table, { method: head.method, host, port, scheme, target })
    if (!decision.allow) return false
    const { address } = this.#upstream
    if (address !== "" && !addressAllowed(this.#gate, decision.route, address).ok) return false
    // A route that now names another credential, or none, must not go on with this one.
    return (
      decision.route.intercept === route.intercept &&
      decision.route.auth?.credential === route.auth?.credential &&
      decision.route.auth?.scheme === route.auth?.scheme
    )
  }

  /** Tells the journal of the answer. */
  note = (status: number, down: number): void => {
    this.#noted = true
    this.#gate.journal.allow(passageOf(this.#allowed, status, this.#body.bytes, down))
  }

  /**
   * Tells the journal of a request whose answer never came or could not pass. What the upstream has got has left the
   * bottle, also when the client hangs up before anybody answers.
   */
  noteUnanswered(): void {
    if (!this.#noted && this.#upstream.wire.bytesOut > this.#before) this.note(0, 0)
  }

  abort(): void {
    this.#aborted = true
    this.#upstream.wire.destroy()
    this.#client.destroy()
  }

  /** What an error means for the client. */
  judge(error: unknown): unknown {
    if (this.#client.closed || this.#client.peerGone) return new ClientGone(reasonOf(error))
    if (this.fault !== undefined) return this.fault
    if (error instanceof Refused) return error
    if (error instanceof HttpFault) {
      return new Refused(502, upstreamProtocol(this.#allowed.subject, `the answer ${error.message}`))
    }
    if (error instanceof SinkGone) return new ClientGone(error.message)
    return error
  }

  end(): void {
    this.#gate.flights.delete(this)
    this.#client.onGone = undefined
  }
}

/** Writes head and body; never throws: what went wrong stands in the trip, and the answer decides what it means. */
async function sendRequest(
  gate: Gate,
  client: Wire,
  upstream: Upstream,
  allowed: Allowed,
  body: BodyReader,
  trip: Trip,
): Promise<void> {
  const { head, checked, route, destination, subject } = allowed
  const request = { method: head.method, forward: allowed.forward, host: destination.host }
  const text = requestText(request, allowed.fields, checked, allowed.credential)
  if (body.done) {
    upstream.wire.write(text)
    trip.sent = true
    return
  }
  // Only now is the body wanted: the policy allows it and there is somewhere for it to go (RFC 9110 10.1.1).
  if (checked.expectContinue && client.held === 0) client.write("HTTP/1.1 100 Continue\r\n\r\n")
  const writer = new BodyWriter(upstream.wire, checked.framing, text)
  try {
    await pump(body, writer, undefined, (trailers) => {
      const { placeholders } = gate.live.policy
      const message = { target: "", fields: trailers }
      const owners = hostsOfForeignPlaceholder(placeholders, destination.host, message)
      if (owners !== undefined) throw new Refused(403, placeholderMisused(subject, owners.join(", ")))
      return passableFields({ ...head, fields: passableTrailers(trailers) }, checked, route.auth)
    })
    trip.sent = true
  } catch (error) {
    // The upstream may close its side early and still answer: then its answer counts. A client that breaks its own
    // body ends the request, and the upstream must not take what it has for the whole.
    if (error instanceof SinkGone) return
    trip.fault =
      error instanceof Refused
        ? error
        : new Refused(400, badRequest(subject, `the request ${reasonOf(error)}`))
    upstream.wire.destroy()
  }
}
