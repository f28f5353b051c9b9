/**
 * X.509 certificates as a bottle needs them: ECDSA on P-256 with SHA-256, version 3. They are encoded here, because a
 * library for all of X.509 takes longer to load than the rest of a start.
 */
import { createHash, type KeyObject, randomBytes, sign } from "node:crypto"
import {
  bitString,
  integer,
  objectIdentifier,
  octetString,
  printableString,
  sequence,
  set,
  TRUE,
  tagged,
  time,
} from "./der.ts"

/** X.509 version 3, as the number 2 (RFC 5280, 4.1.2.1) */
const VERSION_3 = Buffer.from([2])
const ECDSA_WITH_SHA256 = sequence(objectIdentifier("1.2.840.10045.4.3.2"))
const COMMON_NAME = objectIdentifier("2.5.4.3")
/** Bytes of an uncompressed P-256 point, which end the public key's structure */
const POINT_BYTES = 65

export interface CertificateRequest {
  /** Names in DER: see `commonName` */
  subject: Uint8Array
  issuer: Uint8Array
  /** SubjectPublicKeyInfo of the certified key, DER */
  publicKey: Uint8Array
  notBefore: Date
  notAfter: Date
  /** Each from `extension` */
  extensions: Uint8Array[]
}

/** The certificate, signed with the issuer's key, DER. */
export function signCertificate(request: CertificateRequest, issuerKey: KeyObject): Buffer {
  const body = sequence(
    tagged(0, integer(VERSION_3)),
    // RFC 5280, 4.1.2.2: positive and at most 20 bytes; the first one keeps the length fixed.
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ECDSA_WITH_SHA256,
    request.issuer,
    sequence(time(request.notBefore), time(request.notAfter)),
    request.subject,
    request.publicKey,
    tagged(3, sequence(...request.extensions)),
  )
  return sequence(body, ECDSA_WITH_SHA256, bitString(sign("sha256", body, issuerKey)))
}

/**
 * A name of one common name, DER. A PrintableString, because clients compare issuer and subject byte by byte and
 * libraries choose it for such a text. Throws for characters that it cannot hold.
 */
export function commonName(text: string): Buffer {
  return sequence(set(sequence(COMMON_NAME, printableString(text))))
}

/** An extension by its object identifier, DER. */
export function extension(id: string, critical: boolean, value: Uint8Array): Buffer {
  return sequence(objectIdentifier(id), ...(critical ? [TRUE] : []), octetString(value))
}

/** RFC 5280, 4.2.1.2, method 1: SHA-1 over the key's bits. It names the key and protects nothing. */
export function keyIdentifier(publicKey: Uint8Array): Buffer {
  return createHash("sha1").update(publicKey.subarray(-POINT_BYTES)).digest()
}

/** Base64 in lines of 64 between its markers (RFC 7468). */
export function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`
}

/** The subject of a certificate as its own bytes, so that an issuer's name is repeated exactly. Throws for no DER. */
export function subjectOf(certificate: Buffer): Buffer {
  const [body] = parts(contentOf(certificate))
  // version, serial number, algorithm, issuer, validity, subject (RFC 5280, 4.1)
  const subject = body === undefined ? undefined : parts(contentOf(body))[5]
  if (subject === undefined) throw new Error("this is no certificate")
  return subject
}

/** The values that stand one after the other, each with its tag and length. */
function parts(content: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let rest = content; rest.length > 0; ) {
    const size = headerOf(rest) + contentOf(rest).length
    found.push(rest.subarray(0, size))
    rest = rest.subarray(size)
  }
  return found
}

function contentOf(value: Buffer): Buffer {
  const header = headerOf(value)
  const first = value[1] ?? 0
  const length = first < 0x80 ? first : value.readUIntBE(2, first & 0x7f)
  if (header + length > value.length) throw new Error("this is no certificate")
  return value.subarray(header, header + length)
}

/** Bytes of tag and length. */
function headerOf(value: Buffer): number {
  const first = value[1] ?? 0
  return first < 0x80 ? 2 : 2 + (first & 0x7f)
}
