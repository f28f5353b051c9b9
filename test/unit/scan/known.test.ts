/** Exact values are found however they are spelled. */
import { expect, test } from "bun:test"
import { randomBytes, randomInt } from "node:crypto"
import { defaultRuleset } from "../../../src/policy/scan/rules/default.ts"
import { compile } from "../../../src/policy/scan/scanner.ts"
import { ALNUM, characters } from "../../fixtures/planted-secret.ts"

function scannerOf(...values: string[]) {
  return compile(
    defaultRuleset(),
    values.map((value, i) => ({ name: `secret ${i}`, value })),
  )
}

function namesIn(scanner: ReturnType<typeof scannerOf>, text: string | Uint8Array): string[] {
  return scanner
    .text({ part: "body" }, typeof text === "string" ? Buffer.from(text) : text)
    .filter((finding) => finding.rule === "known-secret")
    .map((finding) => finding.secret!)
}

test("case and separators do not count", () => {
  const secret = "Correct-Horse_battery.Staple9"
  const scanner = scannerOf(secret)
  for (const spelled of [
    secret,
    secret.toUpperCase(),
    secret.toLowerCase(),
    secret.replace(/[-_.]/g, ""),
    secret.replace(/[-_.]/g, " "),
    secret.replace(/[-_.]/g, "\r\n"),
    [...secret].join("-"),
    [...secret].join("_."),
    [...secret].join("\n"),
    `${secret.slice(0, 12)}\n    ${secret.slice(12)}`,
  ]) {
    expect([spelled, namesIn(scanner, `x ${spelled} y`)]).toEqual([spelled, ["secret 0"]])
  }
  expect(namesIn(scanner, "Correct-Horse_battery.Staple8")).toEqual([])
})

test("base64 at each offset, base32 and hexadecimal, with separators in them", () => {
  const secret = characters(ALNUM, 20)
  const scanner = scannerOf(secret)
  for (let before = 0; before < 6; before++) {
    for (let after = 0; after < 3; after++) {
      const bytes = Buffer.concat([randomBytes(before), Buffer.from(secret), randomBytes(after)])
      for (const text of [bytes.toString("base64"), bytes.toString("base64url"), bytes.toString("hex")]) {
        expect(namesIn(scanner, text)).toEqual(["secret 0"])
        expect(namesIn(scanner, text.replace(/.{7}/g, "$&\n"))).toEqual(["secret 0"])
      }
    }
  }
})

test("a value of digits is found as it is, and not in every table of numbers", () => {
  const scanner = scannerOf("4815162342")
  expect(namesIn(scanner, "code 4815162342.")).toEqual(["secret 0"])
  expect(namesIn(scanner, "4 8 15 16 23 42")).toEqual([])
})

test("values under eight bytes are not looked for", () => {
  expect(namesIn(scannerOf("hunter2"), "hunter2 hunter2")).toEqual([])
})

test("values beyond ASCII are found in UTF-8, in Latin-1, in UTF-16 and escaped", () => {
  const secret = "pässwörd-für-später"
  const scanner = scannerOf(secret)
  for (const bytes of [
    Buffer.from(secret),
    Buffer.from(secret, "latin1"),
    Buffer.from(secret, "utf16le"),
    Buffer.from(encodeURIComponent(secret)),
    Buffer.from(
      JSON.stringify(secret).replace(
        /[\u0080-\uffff]/g,
        (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
      ),
    ),
  ]) {
    expect(namesIn(scanner, bytes)).toEqual(["secret 0"])
  }
})

test("any number of values is told apart", () => {
  const values = Array.from({ length: 3000 }, () => characters(ALNUM, 10 + randomInt(40)))
  const scanner = scannerOf(...values)
  for (let i = 0; i < 50; i++) {
    const [a, b] = [randomInt(values.length), randomInt(values.length)]
    const names = new Set(
      namesIn(scanner, `${characters(ALNUM, 100)} ${values[a]} and ${values[b]} ${characters(ALNUM, 9)}`),
    )
    expect(names).toEqual(new Set([`secret ${a}`, `secret ${b}`]))
  }
})

test("equal values hash alike in every spelling, and differently under another key", () => {
  const value = characters(ALNUM, 24)
  const hashOf = (key: string, text: string) =>
    compile(defaultRuleset(), [{ name: "a", value }], { key }).text({ part: "body" }, Buffer.from(text))[0]!
      .hash
  expect(hashOf("k", value)).toBe(hashOf("k", Buffer.from(value).toString("hex")))
  expect(hashOf("k", value)).not.toBe(hashOf("l", value))
})

test("a finding tells where, and nothing of the value", () => {
  const value = characters(ALNUM, 24)
  const [finding] = scannerOf(value).text({ part: "query", name: "q" }, Buffer.from(`0123456789${value}`))
  expect(finding).toMatchObject({
    place: { part: "query", name: "q" },
    offset: 10,
    decoded: [],
    secret: "secret 0",
  })
  expect(JSON.stringify(finding)).not.toContain(value.slice(0, 5))
})

test("a scanner proves itself, and one that cannot find does not pass", () => {
  expect(() => scannerOf().prove()).not.toThrow()
  const blind = compile({ ...defaultRuleset(), rules: [] }, [])
  expect(() => blind.prove()).toThrow("did not find what was planted for github-pat")
})
