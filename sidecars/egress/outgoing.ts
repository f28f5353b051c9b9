/** The request as the upstream gets it: what belongs to the connection and what could be a credential stays here. */

import {
  foldHeader,
  isCredentialHeader,
  isOverrideHeader,
  stripProtocols,
} from "../../src/policy/credentials.ts"
import { BLOCK_HEADER } from "../../src/policy/denial.ts"
import { hostInUrl } from "../../src/policy/host.ts"
import type { RouteAuth } from "../../src/policy/schema.ts"
import type { CheckedHead } from "./http1/check.ts"
import type { Field, RequestHead } from "./http1/head.ts"
import { isHopByHop, namedByConnection } from "./http1/hop.ts"

const DROPPED = new Set(["host", "expect", BLOCK_HEADER.toLowerCase()])
/** On routes with a credential every byte of the answer is searched for it: no coding, no ranges it could hide in */
const DROPPED_WITH_AUTH = new Set(["accept-encoding", "range", "if-range"])

/**
 * The fields that pass, without credentials: what an inspector may look at. Host, framing and our credential come
 * with `requestText`. `auth` is the route's: a field of its credential's name, in any spelling that a server may take
 * for it, would put another key beside ours.
 */
export function passableFields(
  head: RequestHead,
  checked: CheckedHead,
  auth: RouteAuth | undefined,
): Field[] {
  const named = namedByConnection(head.fields)
  const own = auth === undefined ? "" : foldHeader(credentialName(auth.scheme))
  const fields: Field[] = []
  for (const field of head.fields) {
    const { key } = field
    if (DROPPED.has(key) || isHopByHop(key, named)) continue
    if (isCredentialHeader(key) || isOverrideHeader(key)) continue
    if (auth !== undefined && (DROPPED_WITH_AUTH.has(key) || foldHeader(key) === own)) continue
    if (key === "trailer" && checked.framing.kind !== "chunked") continue
    // Compression of messages would hide the credential in an answer from the scrubber (RFC 7692).
    if (checked.websocket && key === "sec-websocket-extensions") continue
    if (key === "sec-websocket-protocol") {
      const value = stripProtocols(field.value)
      if (value !== "") fields.push({ ...field, value })
      continue
    }
    fields.push(field)
  }
  return fields
}

/** The head as text with one character per byte. `credential` is the field that is added, if any. */
export function requestText(
  request: { method: string; forward: string; host: string },
  fields: readonly Field[],
  checked: CheckedHead,
  credential: { name: string; value: string } | undefined,
): string {
  let text = `${request.method} ${request.forward} HTTP/1.1\r\nHost: ${hostInUrl(request.host)}\r\n`
  for (const field of fields) text += `${field.name}: ${field.value}\r\n`
  const { framing } = checked
  if (framing.kind === "length") text += `Content-Length: ${framing.length}\r\n`
  else if (framing.kind === "chunked") text += "Transfer-Encoding: chunked\r\n"
  if (checked.websocket) text += "Connection: Upgrade\r\nUpgrade: websocket\r\n"
  if (credential !== undefined) {
    text += `Accept-Encoding: identity\r\n${credential.name}: ${credential.value}\r\n`
  }
  return `${text}\r\n`
}

function credentialName(scheme: RouteAuth["scheme"]): string {
  return scheme.startsWith("header:") ? scheme.slice("header:".length) : "Authorization"
}

/** Field that carries a credential of `scheme`; undefined when the value cannot stand in a header. */
export function credentialField(
  scheme: RouteAuth["scheme"],
  secret: string,
): { name: string; value: string } | undefined {
  if (!/^[\x20-\x7e\x80-\xff]+$/.test(secret)) return undefined
  const name = credentialName(scheme)
  if (scheme === "bearer") return { name, value: `Bearer ${secret}` }
  if (scheme === "token") return { name, value: `token ${secret}` }
  if (scheme === "basic") return { name, value: `Basic ${base64(secret)}` }
  return { name, value: secret }
}

export function base64(text: string): string {
  return Buffer.from(text).toString("base64")
}
