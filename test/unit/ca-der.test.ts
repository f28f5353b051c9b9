import { expect, test } from "bun:test"
import {
  bitString,
  der,
  integer,
  objectIdentifier,
  printableString,
  sequence,
  time,
} from "../../src/runtime/der.ts"
import { run } from "../../src/runtime/spawn.ts"

const hex = (bytes: Buffer) => bytes.toString("hex")

test("lengths take as few bytes as they can", () => {
  const head = (count: number) => hex(der(0x04, Buffer.alloc(count))).slice(0, 10)
  expect(head(0)).toBe("0400")
  expect(head(127)).toStartWith("047f")
  expect(head(128)).toStartWith("048180")
  expect(head(255)).toStartWith("0481ff")
  expect(head(256)).toStartWith("04820100")
  expect(head(65_536)).toStartWith("0483010000")
})

test.each([
  ["00", "020100"],
  ["7f", "02017f"],
  ["80", "02020080"],
  ["0001", "020101"],
  ["00ff", "020200ff"],
])("the number %s is encoded as %s: never negative, never longer than needed", (bytes, expected) => {
  expect(hex(integer(Buffer.from(bytes, "hex")))).toBe(expected)
})

test.each([
  ["1.2.840.10045.4.3.2", "06082a8648ce3d040302"],
  ["2.5.29.19", "0603551d13"],
  ["1.3.6.1.5.5.7.3.1", "06082b06010505070301"],
])("the object identifier %s is encoded as in X.509's own texts", (dotted, expected) => {
  expect(hex(objectIdentifier(dotted))).toBe(expected)
})

test("times are UTC in whole seconds, with four digits of the year from 2050 on", () => {
  const text = (at: string) => time(new Date(at)).subarray(2).toString()
  expect(text("2049-12-31T23:59:59.999Z")).toBe("491231235959Z")
  expect(text("2050-01-01T00:00:00.000Z")).toBe("20500101000000Z")
  expect(time(new Date("2049-12-31T23:59:59Z"))[0]).toBe(0x17)
  expect(time(new Date("2050-01-01T00:00:00Z"))[0]).toBe(0x18)
})

test("text that a PrintableString cannot hold is refused", () => {
  expect(printableString("bottle dev-abc12").subarray(2).toString()).toBe("bottle dev-abc12")
  for (const text of ["ä", "a@b", "a_b", "a\n"])
    expect(() => printableString(text)).toThrow("PrintableString")
})

test("openssl reads a nested value of each kind", async () => {
  const value = sequence(
    integer(Buffer.from([0x80])),
    bitString(Buffer.from([0b100]), 2),
    sequence(objectIdentifier("2.5.4.3"), printableString("x".repeat(200))),
  )
  const { code, stdout } = await run(["openssl", "asn1parse", "-inform", "DER"], { input: value })
  expect(code).toBe(0)
  expect(stdout).toMatch(/INTEGER +:80\n/)
  expect(stdout).toMatch(/OBJECT +:commonName\n/)
  expect(stdout).toContain(`PRINTABLESTRING   :${"x".repeat(200)}`)
})
