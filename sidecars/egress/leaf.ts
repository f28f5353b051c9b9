/** Leaf certificates for the hosts that clients ask for, signed by the bottle's authority. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from "node:crypto"
import { isIP } from "node:net"
import { createSecureContext, type SecureContext } from "node:tls"
import { parseIp } from "../../src/policy/ip.ts"
import {
  commonName,
  extension,
  keyIdentifier,
  pem,
  signCertificate,
  subjectOf,
} from "../../src/runtime/certificate.ts"
import { bitString, der, objectIdentifier, sequence } from "../../src/runtime/der.ts"
import { LEAF_BACKDATE_MS, LEAF_LIFE_MS, LEAVES_MAX } from "./limits.ts"

const BASIC_CONSTRAINTS = "2.5.29.19"
const KEY_USAGE = "2.5.29.15"
const EXTENDED_KEY_USAGE = "2.5.29.37"
const SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
const AUTHORITY_KEY_IDENTIFIER = "2.5.29.35"
const SERVER_AUTHENTICATION = objectIdentifier("1.3.6.1.5.5.7.3.1")
/** Bit 0 of the key usage; seven bits of the byte do not count */
const DIGITAL_SIGNATURE = bitString(Buffer.from([0b1000_0000]), 7)
/** Implicit tags of a general name and of a key identifier (RFC 5280, 4.2.1.6 and 4.2.1.1) */
const DNS_NAME = 0x82
const IP_ADDRESS = 0x87
const KEY_IDENTIFIER = 0x80

interface Leaf {
  context: SecureContext
  /** Time from which a new one is made, ms since the epoch */
  staleAt: number
}

/** The authority of one bottle. */
export class Authority {
  readonly #cert: string
  readonly #key: KeyObject
  /** The authority's name and key identifier, DER */
  readonly #issuer: Buffer
  readonly #keyIdentifier: Buffer
  /** Last instant at which the authority itself is valid, ms since the epoch */
  readonly #notAfter: number
  /** The one key that all leaves of this process share: SubjectPublicKeyInfo, and PKCS #8 as PEM */
  readonly #leafKey: { spki: Buffer; pem: string }
  readonly #leaves = new Map<string, Leaf>()

  /** Takes certificate and key as PEM. Throws when they cannot be read or do not belong together. */
  constructor(cert: string, key: string) {
    this.#cert = cert
    this.#key = createPrivateKey(key)
    const certificate = new X509Certificate(cert)
    if (!certificate.checkPrivateKey(this.#key)) throw new Error("the key is not the certificate's")
    this.#issuer = subjectOf(certificate.raw)
    this.#keyIdentifier = keyIdentifier(createPublicKey(this.#key).export({ type: "spki", format: "der" }))
    this.#notAfter = certificate.validToDate.getTime()
    const leaf = generateKeyPairSync("ec", { namedCurve: "prime256v1" })
    this.#leafKey = {
      spki: leaf.publicKey.export({ type: "spki", format: "der" }),
      pem: leaf.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    }
  }

  /** Context with a leaf for `host` (canonical name or IP literal); from the cache when there is one. */
  contextFor(host: string): SecureContext {
    const known = this.#leaves.get(host)
    if (known !== undefined && known.staleAt > Date.now()) {
      this.#leaves.delete(host)
      this.#leaves.set(host, known)
      return known.context
    }
    return this.#mint(host)
  }

  #mint(host: string): SecureContext {
    const now = Date.now()
    const notAfter = Math.min(now + LEAF_LIFE_MS, this.#notAfter)
    const certificate = signCertificate(
      {
        // Clients read names from the extension alone, and a host may not fit a common name (RFC 5280, A.1).
        subject: commonName("bottle"),
        issuer: this.#issuer,
        publicKey: this.#leafKey.spki,
        notBefore: new Date(now - LEAF_BACKDATE_MS),
        notAfter: new Date(notAfter),
        extensions: [
          extension(BASIC_CONSTRAINTS, true, sequence()),
          extension(KEY_USAGE, true, DIGITAL_SIGNATURE),
          extension(EXTENDED_KEY_USAGE, false, sequence(SERVER_AUTHENTICATION)),
          extension(SUBJECT_ALTERNATIVE_NAME, false, sequence(generalName(host))),
          extension(AUTHORITY_KEY_IDENTIFIER, false, sequence(der(KEY_IDENTIFIER, this.#keyIdentifier))),
        ],
      },
      this.#key,
    )
    const context = createSecureContext({
      key: this.#leafKey.pem,
      cert: `${pem("CERTIFICATE", certificate)}\n${this.#cert}`,
      minVersion: "TLSv1.2",
    })
    this.#leaves.set(host, { context, staleAt: notAfter - LEAF_BACKDATE_MS })
    if (this.#leaves.size > LEAVES_MAX) this.#leaves.delete(this.#leaves.keys().next().value!)
    return context
  }
}

function generalName(host: string): Buffer {
  const address = isIP(host) === 0 ? undefined : parseIp(host)
  return address === undefined ? der(DNS_NAME, Buffer.from(host, "ascii")) : der(IP_ADDRESS, address)
}
