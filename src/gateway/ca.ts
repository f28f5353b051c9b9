/** Mints the certificate authority of one bottle: it lives and dies with it, and nobody outside the bottle trusts it. */
import { createHash, generateKeyPairSync } from "node:crypto"
import { commonName, extension, keyIdentifier, pem, signCertificate } from "../runtime/certificate.ts"
import { bitString, integer, octetString, sequence, TRUE } from "../runtime/der.ts"

/** Head start against a sandbox whose clock is behind, in milliseconds */
const BACKDATE_MS = 3_600_000
/** Life of the authority, in milliseconds: longer than any session, short enough to be worthless when found later */
const LIFE_MS = 30 * 24 * 3_600_000

const BASIC_CONSTRAINTS = "2.5.29.19"
const KEY_USAGE = "2.5.29.15"
const SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
/** Bit 5 of the key usage, keyCertSign; two bits of the byte do not count */
const CERTIFICATE_SIGNING = bitString(Buffer.from([0b0000_0100]), 2)

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
  const name = commonName(`bottle ${identity}`)
  const now = Date.now()
  const certificate = signCertificate(
    {
      subject: name,
      issuer: name,
      publicKey: spki,
      notBefore: new Date(now - BACKDATE_MS),
      notAfter: new Date(now + LIFE_MS),
      extensions: [
        // Path length 0: it signs leaves and no further authority.
        extension(BASIC_CONSTRAINTS, true, sequence(TRUE, integer(Buffer.from([0])))),
        extension(KEY_USAGE, true, CERTIFICATE_SIGNING),
        extension(SUBJECT_KEY_IDENTIFIER, false, octetString(keyIdentifier(spki))),
      ],
    },
    privateKey,
  )
  return {
    cert: pem("CERTIFICATE", certificate),
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    sha256: createHash("sha256").update(certificate).digest("hex"),
  }
}
