/** One client connection: requests one after the other, until one of them ends it. */
import { badRequest, describeRequest, upstreamUnreachable } from "../../src/policy/denials.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { admit, withoutQuery } from "./admit.ts"
import { ClientGone, exchange } from "./exchange.ts"
import type { Gate } from "./gate.ts"
import { BodyReader } from "./http1/body.ts"
import { type CheckedHead, checkHead } from "./http1/check.ts"
import { HttpFault } from "./http1/fault.ts"
import { parseRequestHead, type RequestHead } from "./http1/head.ts"
import { readHead } from "./http1/read.ts"
import { answerInternal } from "./internal-host.ts"
import type { Attempt } from "./journal.ts"
import { DRAIN_KEEP_BYTES, DRAIN_MS, HEAD_MS, KEEP_ALIVE_MS } from "./limits.ts"
import { refusalAnswer } from "./refusal.ts"
import { Refused } from "./refused.ts"
import type { Tunnel } from "./request.ts"
import { Turn } from "./turn.ts"
import type { Wire } from "./wire.ts"

/** A tunnel, and why everything in it is refused, if so. */
export interface OpenTunnel extends Tunnel {
  refused?: Refused
}

/** What a CONNECT leads to. */
export type Connect = (client: Wire, head: RequestHead) => Promise<void>

/**
 * Serves a connection to its end. `tunnel` is set inside TLS; outside of it `connect` takes over when a CONNECT comes.
 * Never throws.
 */
export async function serve(
  gate: Gate,
  client: Wire,
  tunnel: OpenTunnel | undefined,
  connect: Connect,
): Promise<void> {
  let wait = HEAD_MS
  const turn = new Turn()
  try {
    for (;;) {
      if (client.held === 0) {
        client.endAfter(wait)
        await client.more()
      } else if (turn.over) {
        await turn.pass()
      }
      client.endAfter(HEAD_MS)
      const next = await serveOne(gate, client, tunnel, connect)
      if (next === "taken") return
      if (next === "close") return client.finish()
      wait = KEEP_ALIVE_MS
      client.endAfter(wait)
      // A client that sends request after request and reads no answer would have them pile up here.
      await client.drained()
    }
  } catch (error) {
    if (!(error instanceof ClientGone)) console.error(`egress: a connection failed: ${reasonOf(error)}`)
    client.destroy()
  }
}

/** What becomes of the connection: `taken` when somebody else has it now. */
type Next = "keep" | "close" | "taken"

async function serveOne(
  gate: Gate,
  client: Wire,
  tunnel: OpenTunnel | undefined,
  connect: Connect,
): Promise<Next> {
  let head: RequestHead | undefined
  let checked: CheckedHead | undefined
  let body: BodyReader | undefined
  try {
    const bytes = await readHead(client)
    if (bytes === undefined) return "close"
    head = parseRequestHead(bytes)
    checked = checkHead(head, tunnel === undefined ? "proxy" : "tunnel")
    if (head.method === "CONNECT") {
      await connect(client, head)
      return "taken"
    }
    body = new BodyReader(client, checked.framing)
    if (tunnel?.refused !== undefined) throw tunnel.refused
    const admitted = admit(gate, head, checked, tunnel)
    if ("internal" in admitted) {
      const keep = checked.keepAlive && body.done
      client.write(answerInternal(gate.live, head.method, admitted.internal, !keep))
      return keep ? "keep" : "close"
    }
    return (await exchange(gate, client, admitted, body)) ? "keep" : "close"
  } catch (error) {
    if (error instanceof ClientGone) throw error
    // A refusal stands in the ledger also when its client did not wait for it.
    if (client.closed && !(error instanceof Refused)) return "close"
    const refused = asRefused(gate, error, head, tunnel)
    return refuse(gate, client, refused, head, checked, body, attemptOf(head, tunnel))
  }
}

/** Fail closed: what nobody foresaw is answered as a failure too, and told in the log. */
function asRefused(
  gate: Gate,
  error: unknown,
  head: RequestHead | undefined,
  tunnel: Tunnel | undefined,
): Refused {
  if (error instanceof Refused) return error
  const identity = gate.live.policy.identity
  const host = tunnel?.host ?? ""
  const what =
    head === undefined ? "request" : describeRequest(head.method, "https", host, withoutQuery(head.target))
  if (error instanceof HttpFault)
    return new Refused(400, badRequest({ identity, what }, `the request ${error.message}`))
  console.error(
    `egress: a request failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  )
  return new Refused(502, upstreamUnreachable({ identity, what }, host, "the gateway failed"))
}

/** Where the request wanted to go, without the user and password that a URL may name: the ledger holds no secret. */
function attemptOf(head: RequestHead | undefined, tunnel: Tunnel | undefined): Attempt {
  if (head === undefined) return { method: "", host: tunnel?.host ?? "", path: "" }
  const target = withoutQuery(head.target)
  if (tunnel !== undefined || head.method === "CONNECT") {
    const host = tunnel?.host ?? withoutUser(target)
    return { method: head.method, host, path: tunnel === undefined ? "" : target }
  }
  const url = /^[a-z][a-z0-9+.-]*:\/\/([^/]*)(.*)$/i.exec(target)
  return { method: head.method, host: withoutUser(url?.[1] ?? ""), path: url?.[2] ?? target }
}

function withoutUser(authority: string): string {
  return authority.slice(authority.lastIndexOf("@") + 1)
}

/** Answers with a refusal and sees to it that the client can read it. */
async function refuse(
  gate: Gate,
  client: Wire,
  refused: Refused,
  head: RequestHead | undefined,
  checked: CheckedHead | undefined,
  body: BodyReader | undefined,
  attempt: Attempt,
): Promise<Next> {
  gate.journal.deny(refused.denial, attempt)
  const keep =
    checked?.keepAlive === true && body !== undefined && isSmall(checked, body) && refused.status !== 400
  client.write(refusalAnswer(refused.status, refused.denial, head, !keep))
  if (!keep) return "close"
  client.endAfter(DRAIN_MS)
  try {
    while (!body.done) if (body.poll() === undefined) await body.more()
  } catch {
    return "close"
  }
  return "keep"
}

/**
 * Whether the rest of a body is short enough to be read so that the connection can go on. A client that waits for
 * `100 Continue` may send its body or not: nobody could tell the body from a next request.
 */
function isSmall(checked: CheckedHead, body: BodyReader): boolean {
  if (body.done) return true
  const { framing } = checked
  return framing.kind === "length" && framing.length <= DRAIN_KEEP_BYTES && !checked.expectContinue
}
