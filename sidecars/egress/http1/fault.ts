/**
 * A message that HTTP/1.1 does not allow, or that two parsers could read in two ways. `reason` completes "the request"
 * or "the answer" in a text for people.
 */
export class HttpFault extends Error {
  override readonly name = "HttpFault"
}
