/**
 * Mints the certificate authority of one bottle: it lives and dies with it, and nobody outside the bottle trusts it.
 * The certificate is encoded here, because a library for all of X.509 takes longer to load than the rest of a start.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto"
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
} from "../runtime/der.ts"

/** Head start against a sandbox whose clock is behind, in milliseconds */
const BACKDATE_MS = 3_600_000
/** Life of the authority, in milliseconds: longer than any session, short enough to be worthless when found later */
const LIFE_MS = 30 * 24 * 3_600_000

/** X.509 version 3, as the number 2 (RFC 5280, 4.1.2.1) */
const VERSION_3 = Buffer.from([2])
const ECDSA_WITH_SHA256 = sequence(objectIdentifier("1.2.840.10045.4.3.2"))
const COMMON_NAME = objectIdentifier("2.5.4.3")
const BASIC_CONSTRAINTS = objectIdentifier("2.5.29.19")
const KEY_USAGE = objectIdentifier("2.5.29.15")
const SUBJECT_KEY_IDENTIFIER = objectIdentifier("2.5.29.14")
/** Bit 5 of the key usage, keyCertSign; two bits of the byte do not count */
const CERTIFICATE_SIGNING = bitString(Buffer.from([0b0000_0100]), 2)
/** Bytes of an uncompressed P-256 point, which end the public key's structure */
const POINT_BYTES = 65

export interface Authority {
  /** Certificate, PEM */
  cert: string
  /** Private key, PKCS #8 PEM; a secret */
  key: string
  /** SHA-256 over the certificate's DER, lower-case hex */
  sha256: string
}

/** A new authority for the bottle with that identity. */
export async function mintAuthority(identity: string): Promise<Authority> {
  // Every TLS client takes P-256, and signing with it costs a fraction of a millisecond.
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" })
  const spki = publicKey.export({ type: "spki", format: "der" })
  // RFC 5280, 4.2.1.2, method 1: SHA-1 over the key's bits. It names the key and protects nothing.
  const keyIdentifier = createHash("sha1").update(spki.subarray(-POINT_BYTES)).digest()
  // A PrintableString, because clients compare issuer and subject byte by byte and libraries choose it for such a text.
  const name = sequence(set(sequence(COMMON_NAME, printableString(`bottle ${identity}`))))
  const now = Date.now()
  const body = sequence(
    tagged(0, integer(VERSION_3)),
    // RFC 5280, 4.1.2.2: positive and at most 20 bytes; the first one keeps the length fixed.
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ECDSA_WITH_SHA256,
    name,
    sequence(time(new Date(now - BACKDATE_MS)), time(new Date(now + LIFE_MS))),
    name,
    spki,
    tagged(
      3,
      sequence(
        // Path length 0: it signs leaves and no further authority.
        sequence(BASIC_CONSTRAINTS, TRUE, octetString(sequence(TRUE, integer(Buffer.from([0]))))),
        sequence(KEY_USAGE, TRUE, octetString(CERTIFICATE_SIGNING)),
        sequence(SUBJECT_KEY_IDENTIFIER, octetString(octetString(keyIdentifier))),
      ),
    ),
  )
  const certificate = sequence(body, ECDSA_WITH_SHA256, bitString(sign("sha256", body, privateKey)))
  return {
    cert: pem("CERTIFICATE", certificate),
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    sha256: createHash("sha256").update(certificate).digest("hex"),
  }
}

/** Base64 in lines of 64 between its markers (RFC 7468). */
function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`
}
