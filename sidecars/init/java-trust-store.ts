/**
 * A Java trust store in the JKS format, version 2, as `sun.security.provider.JavaKeyStore` writes it. Java reads no PEM
 * bundle, and the sandbox's image need not have `keytool`, so the store is written here.
 */
import { createHash, X509Certificate } from "node:crypto"

const MAGIC = 0xfeedfeed
const VERSION = 2
/** Tag of an entry that holds a trusted certificate and no key */
const TRUSTED_CERTIFICATE = 2
const PASSWORD = "changeit"
/** Constant that the format puts between password and content in its digest */
const DIGEST_SALT = "Mighty Aphrodite"

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g

/**
 * The store's bytes. `pem`: one or more certificates; the first is named `bottle`, the next ones `bottle-2` and on.
 * `createdAt` is written into each entry. The password is `changeit`, Java's own default: the store holds no secret.
 */
export function javaTrustStore(pem: string, createdAt: Date = new Date()): Uint8Array {
  const certificates = (pem.match(CERTIFICATE) ?? []).map((text) => new X509Certificate(text).raw)
  if (certificates.length === 0) throw new Error("the PEM text for the Java trust store holds no certificate")
  const content = Buffer.concat([
    uint32(MAGIC),
    uint32(VERSION),
    uint32(certificates.length),
    ...certificates.flatMap((der, index) => [
      uint32(TRUSTED_CERTIFICATE),
      text(index === 0 ? "bottle" : `bottle-${index + 1}`),
      uint64(createdAt.getTime()),
      text("X.509"),
      uint32(der.length),
      der,
    ]),
  ])
  // The digest guards against damage, not against people: password as UTF-16BE, the constant, then the content.
  const password = Buffer.from(PASSWORD, "utf16le").swap16()
  const digest = createHash("sha1").update(password).update(DIGEST_SALT).update(content).digest()
  return Buffer.concat([content, digest])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

/** A string as java.io.DataOutput writes it; equal to UTF-8 with a 16-bit length for the ASCII names used here. */
function text(value: string): Buffer {
  const bytes = Buffer.alloc(2 + value.length)
  bytes.writeUInt16BE(value.length)
  bytes.write(value, 2, "latin1")
  return bytes
}
