/** WebSocket after its handshake: bytes both ways, the upstream's messages scrubbed where a credential was sent. */
import { createHash } from "node:crypto"
import { upstreamProtocol } from "../../src/policy/denials.ts"
import type { Allowed } from "./admit.ts"
import { FrameFault, FrameScrubber } from "./frames.ts"
import type { Gate } from "./gate.ts"
import { NO_BODY } from "./http1/framing.ts"
import { fieldValue, listOf, type ResponseHead } from "./http1/head.ts"
import { answerText } from "./incoming.ts"
import type { Upstream } from "./pool.ts"
import { Refused } from "./refused.ts"
import { createScrubber } from "./scrub.ts"
import { Turn } from "./turn.ts"
import type { Wire } from "./wire.ts"

/** RFC 6455 1.3 */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/** Joins client and upstream until one of them ends. Throws Refused when the upstream's handshake is not one. */
export async function joinWebSocket(
  gate: Gate,
  client: Wire,
  upstream: Upstream,
  allowed: Allowed,
  head: ResponseHead,
  note: (status: number, down: number) => void,
): Promise<void> {
  const fault = faultOf(allowed, head)
  if (fault !== undefined) throw new Refused(502, upstreamProtocol(allowed.subject, fault))
  const { secrets, destination, startedAt } = allowed
  const text = answerText(head, NO_BODY, NO_BODY, "upgrade")
  client.write(secrets === undefined ? text : createScrubber(secrets).text(text))
  note(head.status, 0)
  const before = { up: client.bytesIn - client.held, down: upstream.wire.bytesIn - upstream.wire.held }
  const frames =
    secrets === undefined ? undefined : new FrameScrubber(createScrubber(secrets), createScrubber(secrets))
  try {
    await Promise.all([
      copy(client, upstream.wire, undefined).finally(() => upstream.wire.destroy()),
      copy(upstream.wire, client, frames).finally(() => client.finish()),
    ])
  } finally {
    gate.journal.ended("websocket-end", {
      host: destination.host,
      up: client.bytesIn - before.up,
      down: upstream.wire.bytesIn - before.down,
      ms: performance.now() - startedAt,
    })
  }
}

function faultOf(allowed: Allowed, head: ResponseHead): string | undefined {
  if (fieldValue(head.fields, "upgrade")?.toLowerCase() !== "websocket")
    return "101 without Upgrade: websocket"
  if (!listOf(head.fields, "connection").includes("upgrade")) return "101 without Connection: Upgrade"
  if (fieldValue(head.fields, "sec-websocket-extensions") !== undefined)
    return "an extension that was not offered"
  const key = fieldValue(allowed.head.fields, "sec-websocket-key") ?? ""
  const accept = createHash("sha1").update(`${key}${GUID}`).digest("base64")
  return fieldValue(head.fields, "sec-websocket-accept") === accept
    ? undefined
    : "a wrong Sec-WebSocket-Accept"
}

/** Copies until `from` ends or `to` is gone, as fast as the slower one. */
export async function copy(from: Wire, to: Wire, frames: FrameScrubber | undefined): Promise<void> {
  const turn = new Turn()
  for (;;) {
    const piece = from.take()
    if (piece === undefined) {
      if (from.ended) return
      await from.more()
      continue
    }
    let out = piece
    if (frames !== undefined) {
      try {
        out = frames.push(piece)
      } catch (error) {
        if (error instanceof FrameFault) return from.destroy()
        throw error
      }
    }
    if (out.length > 0 && !to.write(out)) await to.drained()
    if (to.closed) return
    if (turn.over) await turn.pass()
  }
}
