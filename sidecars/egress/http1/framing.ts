/** How long a body is: RFC 9112 6.3, without any of its leniency. */
import { HttpFault } from "./fault.ts"
import type { Field, RequestHead, ResponseHead } from "./head.ts"

export type Framing =
  | { kind: "none" }
  /** Exactly `length` bytes follow */
  | { kind: "length"; length: number }
  | { kind: "chunked" }
  /** The body ends with the connection; answers only */
  | { kind: "close" }

export const NO_BODY: Framing = { kind: "none" }

/** Framing of a request. Throws HttpFault where two readers could differ. */
export function requestFraming(head: RequestHead): Framing {
  const framing = declared(head.fields, head.minor)
  return framing ?? NO_BODY
}

/** Framing of an answer to `method`. Throws HttpFault where two readers could differ. */
export function responseFraming(head: ResponseHead, method: string): Framing {
  const framing = declared(head.fields, head.minor)
  if (method === "HEAD" || head.status < 200 || head.status === 204 || head.status === 304) return NO_BODY
  return framing ?? { kind: "close" }
}

function declared(fields: readonly Field[], minor: 0 | 1): Framing | undefined {
  let length: string | undefined
  let coding: string | undefined
  for (const field of fields) {
    if (field.key === "content-length") {
      // Equal duplicates are legal to fold, and still a sign of a message put together by two hands.
      if (length !== undefined) throw new HttpFault("has more than one Content-Length")
      length = field.value
    } else if (field.key === "transfer-encoding") {
      if (coding !== undefined) throw new HttpFault("has more than one Transfer-Encoding")
      coding = field.value.toLowerCase()
    }
  }
  if (coding !== undefined) {
    if (length !== undefined) throw new HttpFault("has both Content-Length and Transfer-Encoding")
    if (minor === 0) throw new HttpFault("is HTTP/1.0 with a Transfer-Encoding")
    if (coding !== "chunked") throw new HttpFault("has a Transfer-Encoding other than chunked")
    return { kind: "chunked" }
  }
  if (length === undefined) return undefined
  // Digits only: `+5`, `0x5`, `5,5` and a blank are read differently by different parsers. 15 digits stay exact.
  if (!/^\d{1,15}$/.test(length)) throw new HttpFault("has a Content-Length that is not a number")
  return { kind: "length", length: Number(length) }
}
