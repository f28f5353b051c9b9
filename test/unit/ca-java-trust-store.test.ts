import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { javaTrustStore } from "../../sidecars/init/java-trust-store.ts"
import { mintAuthority } from "../../src/gateway/ca.ts"

/** An expired authority of a bottle that never ran; its key was not kept. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIQAVdePx8ILkxtyUXcjf5SNzAKBggqhkjOPQQDAjAbMRkw
FwYDVQQDExBib3R0bGUgZGV2LWFiYzEyMB4XDTI2MTEyMDIyMjcwMVoXDTI2MTIy
MDIzMjcwMVowGzEZMBcGA1UEAxMQYm90dGxlIGRldi1hYmMxMjBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABBXeL9je4r37fb8cZ21o0r4a+MQvLgSoK5DtsO0cNcay
q5qgnTCoiXahnvyTHJEw/3pHetItMM2eP3S5Rt4enG6jRTBDMBIGA1UdEwEB/wQI
MAYBAf8CAQAwDgYDVR0PAQH/BAQDAgIEMB0GA1UdDgQWBBTx5nGYDAMNPvs10GEG
oVaNTRfrczAKBggqhkjOPQQDAgNJADBGAiEA3yBXyjfIp9Atw0eeiOrfZn8xleh3
ROm7ZxdUH4J/Zh8CIQD4fym5iCoRievL8o29sD5doFosKOCp1ZEmsxLRjEJBeQ==
-----END CERTIFICATE-----
`

/** What `keytool -importcert -alias bottle -storetype JKS -storepass changeit` of OpenJDK made of it. */
const BY_KEYTOOL = Buffer.from(
  `/u3+7QAAAAIAAAABAAAAAgAGYm90dGxlAAABoftI7FwABVguNTA5AAABfjCCAXowggEfoAMCAQICEAFXXj8fCC5MbclF3I3+Ujcw
CgYIKoZIzj0EAwIwGzEZMBcGA1UEAxMQYm90dGxlIGRldi1hYmMxMjAeFw0yNjExMjAyMjI3MDFaFw0yNjEyMjAyMzI3MDFaMBsx
GTAXBgNVBAMTEGJvdHRsZSBkZXYtYWJjMTIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQV3i/Y3uK9+32/HGdtaNK+GvjELy4E
qCuQ7bDtHDXGsquaoJ0wqIl2oZ78kxyRMP96R3rSLTDNnj90uUbeHpxuo0UwQzASBgNVHRMBAf8ECDAGAQH/AgEAMA4GA1UdDwEB
/wQEAwICBDAdBgNVHQ4EFgQU8eZxmAwDDT77NdBhBqFWjU0X63MwCgYIKoZIzj0EAwIDSQAwRgIhAN8gV8o3yKfQLcNHnojq32Z/
MZXod0Tpu2cXVB+Cf2YfAiEA+H8puYgqEYnry/KNvbA+XaBaLCjgqdWRJrMS0YxCQXlrYNH2ZxJSUSpOrupbobOZp7Gp4w==`,
  "base64",
)

test("the store is, byte for byte, the one that Java's own keytool writes", () => {
  // keytool puts the time of the import behind magic, version, count, tag and the 8 bytes of the alias.
  const importedAt = new Date(Number(BY_KEYTOOL.readBigUInt64BE(24)))
  expect(Buffer.from(javaTrustStore(CERTIFICATE, importedAt)).toString("hex")).toBe(
    BY_KEYTOOL.toString("hex"),
  )
})

test("the store ends in the digest that Java checks with the password changeit", async () => {
  const store = Buffer.from(javaTrustStore((await mintAuthority("dev-abc12")).cert))
  const content = store.subarray(0, -20)
  const password = Buffer.from([..."changeit"].flatMap((letter) => [0, letter.charCodeAt(0)]))
  const digest = createHash("sha1").update(password).update("Mighty Aphrodite").update(content).digest()
  expect(store.subarray(-20).equals(digest)).toBe(true)
})

test("several certificates become several entries of different names", async () => {
  const [a, b] = await Promise.all([mintAuthority("a-aaaaa"), mintAuthority("b-bbbbb")])
  const store = Buffer.from(javaTrustStore(`${a.cert}\n# a comment\n${b.cert}`))
  expect(store.readUInt32BE(8)).toBe(2)
  expect(store.includes("\0\x06bottle\0")).toBe(true)
  expect(store.includes("\0\x08bottle-2\0")).toBe(true)
})

test("a text without a certificate is refused, because a store that trusts nothing helps nobody", () => {
  expect(() => javaTrustStore("")).toThrow("holds no certificate")
})
