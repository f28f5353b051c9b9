/**
 * Leaf certificates for the hosts that clients ask for, signed by the bottle's authority. `@peculiar/x509` is loaded
 * on first use: it takes longer to load than everything else egress does before it listens.
 */
import { createPrivateKey, X509Certificate as NodeCertificate, randomBytes, webcrypto } from "node:crypto"
import { isIP } from "node:net"
import { createSecureContext, type SecureContext } from "node:tls"
import { LEAF_BACKDATE_MS, LEAF_LIFE_MS, LEAVES_MAX } from "./limits.ts"

type X509 = typeof import("@peculiar/x509")

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }

interface Leaf {
  context: SecureContext
  /** Time from which a new one is made, ms since the epoch */
  staleAt: number
}

interface Signer {
  x509: X509
  issuer: InstanceType<X509["X509Certificate"]>
  caKey: CryptoKey
  leafKeys: CryptoKeyPair
  /** PKCS #8 PEM of the one key that all leaves of this process share */
  leafKeyPem: string
}

/** The authority of one bottle. */
export class Authority {
  readonly #cert: string
  readonly #key: string
  /** Last instant at which the authority itself is valid, ms since the epoch */
  readonly #notAfter: number
  #signer: Promise<Signer> | undefined
  readonly #leaves = new Map<string, Leaf>()
  readonly #minting = new Map<string, Promise<SecureContext>>()

  /** Takes certificate and key as PEM. Throws when they cannot be read or do not belong together. */
  constructor(cert: string, key: string) {
    this.#cert = cert
    this.#key = key
    const certificate = new NodeCertificate(cert)
    if (!certificate.checkPrivateKey(createPrivateKey(key)))
      throw new Error("the key is not the certificate's")
    this.#notAfter = certificate.validToDate.getTime()
  }

  /** Loads what signing needs, so that the first connection does not wait for it. Throws when the key is unusable. */
  async prepare(): Promise<void> {
    await this.#signing()
  }

  /** Context with a leaf for `host` (canonical name or IP literal); from the cache when there is one. */
  contextFor(host: string): SecureContext | Promise<SecureContext> {
    const known = this.#leaves.get(host)
    if (known !== undefined && known.staleAt > Date.now()) {
      this.#leaves.delete(host)
      this.#leaves.set(host, known)
      return known.context
    }
    let minting = this.#minting.get(host)
    if (minting === undefined) {
      minting = this.#mint(host).finally(() => this.#minting.delete(host))
      this.#minting.set(host, minting)
    }
    return minting
  }

  async #mint(host: string): Promise<SecureContext> {
    const signer = await this.#signing()
    const now = Date.now()
    const notAfter = Math.min(now + LEAF_LIFE_MS, this.#notAfter)
    const ip = isIP(host) !== 0
    const cert = await signer.x509.X509CertificateGenerator.create({
      // A serial of 20 octets at most, positive, unpredictable (CA/B Forum 7.1: at least 64 random bits).
      serialNumber: `4${randomBytes(16).toString("hex").slice(1)}`,
      // A common name is bounded to 64 characters (RFC 5280 A.1); names are read from the extension anyway.
      subject: [{ CN: [host.length <= 64 ? host : "bottle"] }],
      issuer: signer.issuer.subject,
      notBefore: new Date(now - LEAF_BACKDATE_MS),
      notAfter: new Date(notAfter),
      signingAlgorithm: ECDSA,
      publicKey: signer.leafKeys.publicKey,
      signingKey: signer.caKey,
      extensions: [
        new signer.x509.BasicConstraintsExtension(false, undefined, true),
        new signer.x509.KeyUsagesExtension(signer.x509.KeyUsageFlags.digitalSignature, true),
        new signer.x509.ExtendedKeyUsageExtension(["1.3.6.1.5.5.7.3.1"]),
        new signer.x509.SubjectAlternativeNameExtension([{ type: ip ? "ip" : "dns", value: host }], false),
        await signer.x509.AuthorityKeyIdentifierExtension.create(signer.issuer.publicKey),
      ],
    })
    const context = createSecureContext({
      key: signer.leafKeyPem,
      cert: `${cert.toString("pem")}\n${this.#cert}`,
      minVersion: "TLSv1.2",
    })
    this.#leaves.set(host, { context, staleAt: notAfter - LEAF_BACKDATE_MS })
    if (this.#leaves.size > LEAVES_MAX) this.#leaves.delete(this.#leaves.keys().next().value!)
    return context
  }

  #signing(): Promise<Signer> {
    this.#signer ??= this.#load()
    return this.#signer
  }

  async #load(): Promise<Signer> {
    await import("reflect-metadata")
    const x509 = await import("@peculiar/x509")
    const subtle = webcrypto.subtle
    // Takes SEC 1 ("EC PRIVATE KEY") as well as PKCS #8; WebCrypto only reads the latter.
    const der = createPrivateKey(this.#key).export({ type: "pkcs8", format: "der" })
    const leafKeys = (await subtle.generateKey(ECDSA, true, ["sign", "verify"])) as CryptoKeyPair
    const pkcs8 = await subtle.exportKey("pkcs8", leafKeys.privateKey)
    return {
      x509,
      issuer: new x509.X509Certificate(this.#cert),
      caKey: (await subtle.importKey("pkcs8", der, ECDSA, false, ["sign"])) as CryptoKey,
      leafKeys,
      leafKeyPem: x509.PemConverter.encode(pkcs8, "PRIVATE KEY"),
    }
  }
}
