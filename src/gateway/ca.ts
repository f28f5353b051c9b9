/** Mints the certificate authority of one bottle: it lives and dies with it, and nobody outside the bottle trusts it. */
// @peculiar/x509 resolves its parts through decorators, which need the metadata API before it loads.
import "reflect-metadata"
import { createHash, randomBytes, webcrypto } from "node:crypto"
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509"

/** Head start against a sandbox whose clock is behind, in milliseconds */
const BACKDATE_MS = 3_600_000
/** Life of the authority, in milliseconds: longer than any session, short enough to be worthless when found later */
const LIFE_MS = 30 * 24 * 3_600_000
/** P-256 is the curve that every TLS client takes, and signing with it costs a fraction of a millisecond */
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }

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
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"])
  const now = Date.now()
  // RFC 5280, 4.1.2.2: positive and at most 20 bytes; the leading 01 keeps the sign bit clear and the length fixed.
  const serialNumber = `01${randomBytes(15).toString("hex")}`
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber,
    name: [{ CN: [`bottle ${identity}`] }],
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + LIFE_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      // Path length 0: it signs leaves and no further authority.
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const key = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)
  return {
    cert: `${certificate.toString("pem")}\n`,
    key: `${PemConverter.encode(key, "PRIVATE KEY")}\n`,
    sha256: createHash("sha256").update(Buffer.from(certificate.rawData)).digest("hex"),
  }
}
