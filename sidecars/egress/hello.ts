/**
 * The name in a TLS ClientHello, read before a single byte is answered: RFC 8446 4.1.2 and RFC 6066 3. Bytes come
 * from the sandbox and are hostile; everything is bounded by its own length fields and HELLO_MAX_BYTES.
 */
import { HELLO_MAX_BYTES } from "./limits.ts"

export type Hello =
  | { kind: "more" }
  /** Not a ClientHello; `reason` completes "the tunnel" */
  | { kind: "bad"; reason: string }
  /** Name the client asks for, in lower case; empty when it asks for none */
  | { kind: "hello"; name: string }

const HANDSHAKE_RECORD = 22
const CLIENT_HELLO = 1
const SERVER_NAME = 0
const HOST_NAME = 0

const MORE: Hello = { kind: "more" }

/** Reads the ClientHello at the start of `bytes`. */
export function readHello(bytes: Buffer): Hello {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE_RECORD) return bad("does not begin with TLS")
  if (bytes.length > 1 && bytes[1] !== 3) return bad("does not begin with TLS")
  // A hello may be spread over several records; their payloads are put together first.
  const payloads: Buffer[] = []
  let gathered = 0
  /** Bytes of the whole message; until its own length is read, those of type and length */
  let wanted = 4
  let at = 0
  for (;;) {
    if (gathered >= wanted) {
      // At most twice: joined for each record, a hello in records of one byte would cost its square.
      const message = payloads.length === 1 ? payloads[0]! : Buffer.concat(payloads)
      if (message[0] !== CLIENT_HELLO) return bad("begins with a TLS message that is not a ClientHello")
      wanted = message.readUIntBE(1, 3) + 4
      if (wanted > HELLO_MAX_BYTES)
        return bad(`begins with a ClientHello of more than ${HELLO_MAX_BYTES} bytes`)
      if (message.length >= wanted) return readBody(message.subarray(4, wanted))
    }
    if (bytes.length < at + 5) return unfinished(bytes)
    if (bytes[at] !== HANDSHAKE_RECORD) return bad("has another TLS record inside its ClientHello")
    const size = bytes.readUInt16BE(at + 3)
    if (size === 0 || size > 16_384) return bad("begins with a TLS record of a wrong size")
    if (bytes.length < at + 5 + size) return unfinished(bytes)
    payloads.push(bytes.subarray(at + 5, at + 5 + size))
    gathered += size
    at += 5 + size
  }
}

function unfinished(bytes: Buffer): Hello {
  // Records add 5 bytes each; one byte a record is not what a client does, so twice the bound is room enough.
  return bytes.length > 2 * HELLO_MAX_BYTES ? bad("begins with a ClientHello that does not end") : MORE
}

function bad(reason: string): Hello {
  return { kind: "bad", reason }
}

/** Steps through the fields before the extensions: version, random, session id, cipher suites, compression. */
function readBody(body: Buffer): Hello {
  let at = 34
  at += 1 + (body[at] ?? 0)
  if (at + 2 > body.length) return bad("begins with a broken ClientHello")
  at += 2 + body.readUInt16BE(at)
  at += 1 + (body[at] ?? 0)
  if (at > body.length) return bad("begins with a broken ClientHello")
  if (at + 2 > body.length) return { kind: "hello", name: "" }
  const end = at + 2 + body.readUInt16BE(at)
  if (end > body.length) return bad("begins with a broken ClientHello")
  at += 2
  let name: string | undefined
  while (at + 4 <= end) {
    const type = body.readUInt16BE(at)
    const size = body.readUInt16BE(at + 2)
    at += 4
    if (at + size > end) return bad("begins with a broken ClientHello")
    if (type === SERVER_NAME) {
      if (name !== undefined) return bad("names two servers in its ClientHello")
      name = readServerName(body.subarray(at, at + size))
      if (name === undefined) return bad("begins with a ClientHello whose server name is broken")
    }
    at += size
  }
  return { kind: "hello", name: name ?? "" }
}

/** One list with one host name in it; RFC 6066 forbids a second of the same type. */
function readServerName(data: Buffer): string | undefined {
  if (data.length < 5 || data.readUInt16BE(0) !== data.length - 2) return undefined
  if (data[2] !== HOST_NAME || data.readUInt16BE(3) !== data.length - 5) return undefined
  const name = data.toString("latin1", 5)
  return /^[\x21-\x7e]{1,255}$/.test(name) ? name.toLowerCase() : undefined
}
