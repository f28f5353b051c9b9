// The library needs the metadata API before it loads.
import "reflect-metadata"
import { expect, test } from "bun:test"
import { X509Certificate } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { X509Certificate as LibraryCertificate, Name } from "@peculiar/x509"
import { mintAuthority } from "../../src/gateway/ca.ts"
import { run } from "../../src/runtime/spawn.ts"
import { certificateFor } from "../fixtures/certificate.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const DAY_MS = 24 * 3_600_000

async function openssl(args: string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await run(["openssl", ...args], input === undefined ? {} : { input })
  if (code !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`)
  return stdout
}

test("openssl reads the authority as one that signs leaves and nothing else", async () => {
  const { cert, sha256 } = await mintAuthority("dev-abc12")
  const text = await openssl(["x509", "-noout", "-text", "-fingerprint", "-sha256"], cert)
  expect(text).toContain("CN = bottle dev-abc12")
  expect(text).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/)
  expect(text).toMatch(/Key Usage: critical\s+Certificate Sign\n/)
  expect(text).toContain("ecdsa-with-SHA256")
  expect(text).toContain("prime256v1")
  expect(text.toLowerCase().replaceAll(":", "")).toContain(`fingerprint=${sha256}`)
})

test("it is valid from an hour ago for thirty days, whatever the sandbox's clock does within that", async () => {
  const before = Date.now()
  const certificate = new X509Certificate((await mintAuthority("dev-abc12")).cert)
  const from = Date.parse(certificate.validFrom)
  const to = Date.parse(certificate.validTo)
  expect(Math.abs(before - 3_600_000 - from)).toBeLessThan(60_000)
  expect(to - from - 3_600_000).toBe(30 * DAY_MS)
})

test("a leaf that openssl signs with the key verifies against it, and an authority below it does not", async () => {
  using folder = temporaryFolder()
  const file = (name: string, content?: string) => {
    const path = join(folder.path, name)
    if (content !== undefined) writeFileSync(path, content, { mode: 0o600 })
    return path
  }
  const { cert, key } = await mintAuthority("dev-abc12")
  const ca = file("ca.pem", cert)
  const caKey = file("ca.key", key)
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
  const sign = async (name: string, issuer: string, issuerKey: string, isCa: boolean) => {
    const request = file(`${name}.csr`)
    const leafKey = file(`${name}.key`)
    await openssl(["req", "-new", ...newKey, "-keyout", leafKey, "-out", request, "-subj", `/CN=${name}`])
    const extensions = file(`${name}.ext`, `basicConstraints=critical,CA:${isCa ? "TRUE" : "FALSE"}\n`)
    const from = ["-req", "-in", request, "-CA", issuer, "-CAkey", issuerKey, "-CAcreateserial"]
    await openssl(["x509", ...from, "-days", "1", "-extfile", extensions, "-out", file(`${name}.pem`)])
    return { cert: file(`${name}.pem`), key: leafKey }
  }
  const leaf = await sign("leaf", ca, caKey, false)
  expect(await openssl(["verify", "-CAfile", ca, leaf.cert])).toContain("OK")

  const below = await sign("below", ca, caKey, true)
  const fromBelow = await sign("from-below", below.cert, below.key, false)
  const chain = ["verify", "-CAfile", ca, "-untrusted", below.cert, fromBelow.cert]
  await expect(openssl(chain)).rejects.toThrow("path length constraint exceeded")
})

test("two authorities share neither key nor serial number", async () => {
  const [a, b] = await Promise.all([mintAuthority("dev-abc12"), mintAuthority("dev-abc12")])
  expect(a.key).not.toBe(b.key)
  expect(a.key).toStartWith("-----BEGIN PRIVATE KEY-----\n")
  expect(new X509Certificate(a.cert).serialNumber).not.toBe(new X509Certificate(b.cert).serialNumber)
})

test("an X.509 library reads the same out of it, and names it as issuer byte by byte", async () => {
  const authority = await mintAuthority("dev-abc12")
  const read = new LibraryCertificate(authority.cert)
  expect(read.subject).toBe("CN=bottle dev-abc12")
  expect(await read.isSelfSigned()).toBe(true)
  const issued = await certificateFor("example.test")
  const issuer = new LibraryCertificate(issued.ca)
  const leaf = new LibraryCertificate(issued.cert)
  expect(
    Buffer.from(leaf.issuerName.toArrayBuffer()).equals(Buffer.from(issuer.subjectName.toArrayBuffer())),
  ).toBe(true)
  // The name as text is how other code hands it on: made from that, it must come out the same.
  const fromText = Buffer.from(new Name(issuer.subject).toArrayBuffer())
  expect(fromText.equals(Buffer.from(issuer.subjectName.toArrayBuffer()))).toBe(true)
})

test("a hundred authorities are all accepted by openssl, whatever their random numbers begin with", async () => {
  const minted = await Promise.all(Array.from({ length: 100 }, () => mintAuthority("dev-abc12")))
  using folder = temporaryFolder()
  const bundle = join(folder.path, "bundle.pem")
  writeFileSync(bundle, minted.map(({ cert }) => cert).join(""))
  const listed = await openssl(["storeutl", "-noout", "-certs", "-text", bundle])
  expect(listed.match(/CA:TRUE, pathlen:0/g)).toHaveLength(100)
  for (const { cert } of minted) {
    const certificate = new X509Certificate(cert)
    expect(certificate.verify(certificate.publicKey)).toBe(true)
  }
})
