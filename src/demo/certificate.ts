/** A server certificate for the demo's own service, and the authority that vouches for it: minted for one run. */
import { createPrivateKey, generateKeyPairSync, X509Certificate } from "node:crypto"
import { mintAuthority } from "../gateway/ca.ts"
import { commonName, extension, pem, signCertificate, subjectOf } from "../runtime/certificate.ts"
import { bitString, der, objectIdentifier, sequence } from "../runtime/der.ts"

/** Head start against a clock that is set back while the demo runs, and its life, in milliseconds */
const BACKDATE_MS = 3_600_000
const LIFE_MS = 24 * 3_600_000

const KEY_USAGE = "2.5.29.15"
const EXTENDED_KEY_USAGE = "2.5.29.37"
const SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
const SERVER_AUTHENTICATION = objectIdentifier("1.3.6.1.5.5.7.3.1")
/** Bit 0 of the key usage; seven bits of the byte do not count */
const DIGITAL_SIGNATURE = bitString(Buffer.from([0b1000_0000]), 7)
/** Implicit tag of a DNS name (RFC 5280, 4.2.1.6) */
const DNS_NAME = 0x82

export interface ServerCertificate {
  /** Certificate of the authority, PEM */
  authority: string
  /** Certificate of the server, PEM */
  cert: string
  /** Key of the server, PKCS #8 PEM */
  key: string
}

/** A certificate for those DNS names. */
export async function mintServerCertificate(names: readonly string[]): Promise<ServerCertificate> {
  const authority = await mintAuthority("demo")
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" })
  const certificate = signCertificate(
    {
      // Clients read names from the extension alone.
      subject: commonName("bottle demo service"),
      issuer: subjectOf(new X509Certificate(authority.cert).raw),
      publicKey: publicKey.export({ type: "spki", format: "der" }),
      notBefore: new Date(Date.now() - BACKDATE_MS),
      notAfter: new Date(Date.now() + LIFE_MS),
      extensions: [
        extension(KEY_USAGE, true, DIGITAL_SIGNATURE),
        extension(EXTENDED_KEY_USAGE, false, sequence(SERVER_AUTHENTICATION)),
        extension(
          SUBJECT_ALTERNATIVE_NAME,
          false,
          sequence(...names.map((name) => der(DNS_NAME, Buffer.from(name, "ascii")))),
        ),
      ],
    },
    createPrivateKey(authority.key),
  )
  return {
    authority: authority.cert,
    cert: pem("CERTIFICATE", certificate),
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  }
}
