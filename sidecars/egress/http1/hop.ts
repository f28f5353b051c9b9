/** Header fields that belong to one connection and never pass a proxy: RFC 9110 7.6.1. */
import { type Field, listOf } from "./head.ts"

const HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-authentication-info",
  "te",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  // Written anew from the framing
  "content-length",
])

/** Whether a field of that lower-case name stays on its connection; `named` are those that `Connection` names. */
export function isHopByHop(key: string, named: readonly string[]): boolean {
  return HOP.has(key) || named.includes(key)
}

/** Lower-case names that a message's `Connection` declares as belonging to the connection. */
export function namedByConnection(fields: readonly Field[]): string[] {
  return listOf(fields, "connection")
}

/** Fields that may not stand in a trailer section: framing, routing and what decides on the body (RFC 9110 6.5.1). */
const NOT_IN_TRAILERS =
  /^(host|content-.*|transfer-encoding|trailer|te|connection|keep-alive|upgrade|expect|range|if-.*|max-forwards|cache-control|set-cookie|location|authorization|www-authenticate|proxy-.*|x-bottle-block|alt-svc)$/

/** The trailers that may pass. */
export function passableTrailers(fields: readonly Field[]): Field[] {
  return fields.filter((field) => !NOT_IN_TRAILERS.test(field.key))
}
