/** The answer as the client gets it. */
import { BLOCK_HEADER } from "../../src/policy/denial.ts"
import type { Framing } from "./http1/framing.ts"
import { type Field, listOf, type ResponseHead } from "./http1/head.ts"
import { isHopByHop, namedByConnection } from "./http1/hop.ts"

/**
 * `Alt-Svc` would have clients look for another way to the host. A mark of ours on an answer that is not ours would
 * let an upstream speak in the gateway's name.
 */
const DROPPED = new Set([BLOCK_HEADER.toLowerCase(), "alt-svc"])

/** How a body is delimited towards the client: a body that ends with the connection becomes a chunked one. */
export function clientFraming(upstream: Framing, clientMinor: 0 | 1): Framing {
  if (upstream.kind !== "chunked" && upstream.kind !== "close") return upstream
  return clientMinor === 1 ? { kind: "chunked" } : { kind: "close" }
}

/** The head as text with one character per byte. */
export function answerText(
  head: ResponseHead,
  upstream: Framing,
  client: Framing,
  connection: "keep" | "keep-1.0" | "close" | "upgrade",
): string {
  let text = `HTTP/1.1 ${head.status} ${head.reason}\r\n`
  const named = namedByConnection(head.fields)
  for (const { name, key, value } of head.fields) {
    if (DROPPED.has(key)) continue
    if (key === "content-length" ? !keepsLength(head.status, upstream, client) : isHopByHop(key, named))
      continue
    if (key === "trailer" && client.kind !== "chunked") continue
    text += `${name}: ${value}\r\n`
  }
  if (client.kind === "chunked") text += "Transfer-Encoding: chunked\r\n"
  if (connection === "close") text += "Connection: close\r\n"
  else if (connection === "keep-1.0") text += "Connection: keep-alive\r\n"
  else if (connection === "upgrade") text += "Connection: Upgrade\r\nUpgrade: websocket\r\n"
  return `${text}\r\n`
}

/** Whether the body is coded in a way the scrubber cannot read. */
export function isCoded(fields: readonly Field[]): boolean {
  return listOf(fields, "content-encoding").some((coding) => coding !== "identity")
}

/** Where there is no body, Content-Length tells what one would be (RFC 9110 8.6), but never with 204 and 1xx. */
function keepsLength(status: number, upstream: Framing, client: Framing): boolean {
  if (status === 204 || status < 200) return false
  return upstream.kind === "none" || client.kind === "length"
}
