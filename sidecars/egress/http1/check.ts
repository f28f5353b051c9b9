/** What a request head must fulfil before anything in it is believed: one pure function for every way in. */
import { HttpFault } from "./fault.ts"
import { type Framing, requestFraming } from "./framing.ts"
import type { RequestHead } from "./head.ts"
import { fieldValue, listOf } from "./head.ts"

/** Where a request was read: on the proxy's own socket, or inside a TLS tunnel. */
export type Place = "proxy" | "tunnel"

export interface CheckedHead {
  /** How the body is delimited */
  framing: Framing
  /** Value of the only Host field; undefined only for CONNECT and HTTP/1.0 on the proxy's own socket */
  host: string | undefined
  /** True when the client asks for a WebSocket */
  websocket: boolean
  /** Protocol of an Upgrade that is not served, possibly empty */
  upgrade: string
  /** True when the client waits for `100 Continue` */
  expectContinue: boolean
  /** True when the client keeps the connection for a next request */
  keepAlive: boolean
}

/**
 * Checks the head as a whole. Throws HttpFault with what is wrong.
 */
export function checkHead(head: RequestHead, place: Place): CheckedHead {
  const connect = head.method === "CONNECT"
  if (connect && place === "tunnel") throw new HttpFault("is a CONNECT inside a tunnel")
  checkTarget(head, place)

  const hosts = head.fields.filter((field) => field.key === "host")
  if (hosts.length > 1) throw new HttpFault("has more than one Host")
  const host = hosts[0]?.value
  // RFC 9112 3.2 lets HTTP/1.0 go without Host. On the proxy's socket the target names the host all the same, and
  // Python's http.client sends its CONNECT so; inside a tunnel nothing else does.
  if (host === undefined && (place === "tunnel" || head.minor === 1) && !connect) {
    throw new HttpFault("has no Host")
  }
  if (host === "") throw new HttpFault("has an empty Host")

  const framing = requestFraming(head)
  if (connect && framing.kind !== "none" && !(framing.kind === "length" && framing.length === 0)) {
    throw new HttpFault("is a CONNECT with a body")
  }

  // The HTTP/2 preface reads as `PRI * HTTP/2.0`, which the version check refuses; `h2c` would switch to a protocol
  // that nobody reads here ("h2c smuggling").
  const upgrades = listOf(head.fields, "upgrade")
  const connection = listOf(head.fields, "connection")
  if (upgrades.includes("h2c") || fieldValue(head.fields, "http2-settings") !== undefined) {
    throw new HttpFault("asks to switch to h2c")
  }
  const asked = upgrades.length > 0 && connection.includes("upgrade")
  const websocket = asked && upgrades.length === 1 && upgrades[0] === "websocket"
  if (websocket && (head.method !== "GET" || head.minor !== 1)) {
    throw new HttpFault("asks for a WebSocket without GET and HTTP/1.1")
  }
  if (websocket && framing.kind !== "none") throw new HttpFault("asks for a WebSocket with a body")

  const expect = fieldValue(head.fields, "expect")
  if (expect !== undefined && expect.toLowerCase() !== "100-continue") {
    throw new HttpFault("has an expectation other than 100-continue")
  }
  return {
    framing,
    host,
    websocket,
    upgrade: asked && !websocket ? upgrades.join(", ") : "",
    expectContinue: expect !== undefined && head.minor === 1 && framing.kind !== "none",
    keepAlive: head.minor === 1 ? !connection.includes("close") : connection.includes("keep-alive"),
  }
}

function checkTarget(head: RequestHead, place: Place): void {
  const { method, target } = head
  if (method === "CONNECT") return
  if (target.includes("#")) throw new HttpFault("has a fragment in its target")
  if (target === "*") {
    if (method === "OPTIONS" && place === "tunnel") return
    throw new HttpFault("has the target `*` without OPTIONS")
  }
  if (place === "tunnel") {
    if (!target.startsWith("/")) throw new HttpFault("has a target inside the tunnel that is not a path")
  } else if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(target)) {
    throw new HttpFault("has a target that is not a whole URL, as a proxy needs it")
  }
}
