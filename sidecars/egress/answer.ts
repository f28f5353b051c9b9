/** From the upstream's answer to the client's: interim answers, head, body, trailers, scrubbed where they must be. */
import { responseUndecodable, upstreamProtocol } from "../../src/policy/denials.ts"
import type { Allowed } from "./admit.ts"
import type { Gate } from "./gate.ts"
import { BodyReader, BodyWriter, pump } from "./http1/body.ts"
import { HttpFault } from "./http1/fault.ts"
import { NO_BODY, responseFraming } from "./http1/framing.ts"
import { type Field, fieldValue, parseResponseHead, type ResponseHead } from "./http1/head.ts"
import { passableTrailers } from "./http1/hop.ts"
import { readHead } from "./http1/read.ts"
import { answerText, clientFraming, isCoded } from "./incoming.ts"
import { INTERIM_MAX } from "./limits.ts"
import type { Upstream } from "./pool.ts"
import { Refused } from "./refused.ts"
import { createScrubber, type Scrubber } from "./scrub.ts"
import { joinWebSocket } from "./websocket.ts"
import type { Wire } from "./wire.ts"

export interface Answered {
  /** The upstream's connection can carry another request, as far as the answer is concerned */
  reusable: boolean
  /** The client's connection can, as far as the answer is concerned */
  keepAlive: boolean
}

/**
 * Reads the answer and streams it to the client; `nothing` when the upstream closed without a byte. Throws HttpFault
 * for what is not valid HTTP, Refused for what may not pass; once the head is out, `note` is told of status and body
 * bytes, and an error closes the client.
 */
export async function forwardAnswer(
  gate: Gate,
  client: Wire,
  upstream: Upstream,
  allowed: Allowed,
  body: BodyReader,
  sending: Promise<void>,
  note: (status: number, down: number) => void,
): Promise<Answered | "nothing"> {
  const { head: request, checked } = allowed
  const scrubber = allowed.secrets === undefined ? undefined : createScrubber(allowed.secrets)
  const head = await finalHead(client, upstream, allowed, scrubber)
  if (head === undefined) return "nothing"
  if (head.status === 101) {
    await joinWebSocket(gate, client, upstream, allowed, head, note)
    return { reusable: false, keepAlive: false }
  }
  const framing = responseFraming(head, request.method)
  if (allowed.secrets !== undefined && framing.kind !== "none" && isCoded(head.fields)) {
    // The refusal repeats what the upstream wrote, which may be the credential it got.
    const coding = scrub(fieldValue(head.fields, "content-encoding") ?? "", scrubber)
    throw new Refused(502, responseUndecodable(allowed.subject, coding))
  }
  const toClient = clientFraming(framing, request.minor)
  // An answer that comes while the body is still on its way leaves the connection in no known state.
  const keepAlive = checked.keepAlive && toClient.kind !== "close" && body.done
  const text = answerText(
    head,
    framing,
    toClient,
    keepAlive ? (request.minor === 0 ? "keep-1.0" : "keep") : "close",
  )
  const reader = new BodyReader(upstream.wire, framing)
  const writer = new BodyWriter(client, toClient, scrub(text, scrubber))
  let whole = false
  try {
    await pump(reader, writer, scrubber, (fields) => scrubFields(passableTrailers(fields), scrubber))
    whole = true
    if (body.done) await sending
  } catch (error) {
    client.destroy()
    throw error
  } finally {
    note(head.status, reader.bytes)
  }
  return { reusable: whole && framing.kind !== "close" && keepsOpen(head), keepAlive }
}

/** The final head; interim ones are passed on. `100` answers an expectation that we have met ourselves. */
async function finalHead(
  client: Wire,
  upstream: Upstream,
  allowed: Allowed,
  scrubber: Scrubber | undefined,
): Promise<ResponseHead | undefined> {
  for (let interim = 0; interim <= INTERIM_MAX; interim++) {
    const bytes = await readHead(upstream.wire)
    if (bytes === undefined) {
      if (interim > 0) throw new HttpFault("ends after an interim answer")
      return undefined
    }
    const head = parseResponseHead(bytes)
    if (head.status >= 200) return head
    if (head.status === 101) {
      if (allowed.checked.websocket) return head
      throw new Refused(
        502,
        upstreamProtocol(allowed.subject, "the answer switches protocols without being asked"),
      )
    }
    if (head.status !== 100 && allowed.head.minor === 1) {
      client.write(scrub(answerText(head, NO_BODY, NO_BODY, "keep"), scrubber))
    }
  }
  throw new HttpFault(`has more than ${INTERIM_MAX} interim answers`)
}

function scrub(text: string, scrubber: Scrubber | undefined): string {
  return scrubber === undefined ? text : scrubber.text(text)
}

function scrubFields(fields: readonly Field[], scrubber: Scrubber | undefined): Field[] {
  if (scrubber === undefined) return [...fields]
  return fields.map((field) => ({
    ...field,
    name: scrubber.text(field.name),
    value: scrubber.text(field.value),
  }))
}

function keepsOpen(head: ResponseHead): boolean {
  const connection = fieldValue(head.fields, "connection")?.toLowerCase() ?? ""
  return head.minor === 1 ? !connection.includes("close") : connection.includes("keep-alive")
}
