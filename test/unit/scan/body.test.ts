/** Bodies are scanned while they stream: nothing is let go that was not looked at, and nothing is looked at for ever. */
import { describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib"
import { type BodyScan, DECODED_MAX, HELD_MAX, WINDOW } from "../../../src/policy/scan/body.ts"
import type { Finding } from "../../../src/policy/scan/finding.ts"
import { defaultRuleset } from "../../../src/policy/scan/rules/default.ts"
import { compile } from "../../../src/policy/scan/scanner.ts"
import { CONTENT_ENCODINGS, ENCODINGS } from "../../fixtures/encodings.ts"
import { ALNUM, characters } from "../../fixtures/planted-secret.ts"

const token = `gh${"p"}_${characters(ALNUM, 34)}a1`
const known = characters(ALNUM, 40)
const scanner = compile(defaultRuleset(), [{ name: "API", value: known }])
const MIB = 1024 * 1024

interface Outcome {
  /** What was found: rules, or the bound that was met */
  readonly rules: string[]
  readonly findings: Finding[]
  /** Bytes released before each finding was told, and in all */
  readonly released: number
  readonly releasedBefore: number
}

function run(body: BodyScan, chunks: Iterable<Uint8Array>): Outcome {
  const findings: Finding[] = []
  let released = 0
  let releasedBefore = 0
  for (const chunk of [...chunks, undefined]) {
    const verdict = chunk === undefined ? body.end() : body.push(chunk)
    if (verdict.findings.length > 0 && findings.length === 0) releasedBefore = released
    findings.push(...verdict.findings)
    released += verdict.release
  }
  return { rules: findings.map((one) => one.bound ?? one.rule), findings, released, releasedBefore }
}

function scan(
  bytes: Uint8Array,
  size = bytes.length,
  contentType = "application/json",
  encoding = "",
): Outcome {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
  return run(scanner.body(contentType, encoding), chunks)
}

/** Prose and code that no rule is about. */
function filler(length: number): string {
  const line = 'The quick brown fox: if (a < b) { return "lazy dog" } // jumps over\n'
  return line.repeat(Math.ceil(length / line.length)).slice(0, length)
}

test("a body without findings is released byte for byte", () => {
  const bytes = Buffer.from(filler(700_000))
  for (const size of [bytes.length, 65_536, 8192, 1000]) {
    const { rules, released } = scan(bytes, size)
    expect([size, rules, released]).toEqual([size, [], bytes.length])
  }
  expect(scan(Buffer.alloc(0))).toMatchObject({ rules: [], released: 0 })
})

test("a secret split over two chunks is found at every cut, raw and encoded", () => {
  const plain = Buffer.from(JSON.stringify({ a: "text", token, key: known }))
  for (const encoding of [undefined, ...ENCODINGS]) {
    const bytes = encoding === undefined ? plain : Buffer.from(encoding.wrap(plain))
    const step = Math.max(1, Math.floor(bytes.length / 60))
    for (let cut = 1; cut < bytes.length; cut += step) {
      const { rules } = run(scanner.body("", ""), [bytes.subarray(0, cut), bytes.subarray(cut)])
      expect([encoding?.name, cut, rules.sort()]).toEqual([
        encoding?.name,
        cut,
        ["github-pat", "known-secret"],
      ])
    }
  }
})

test("a secret over the edge of two windows is found wherever the edge falls, before any of it is released", () => {
  const value = Buffer.from(Buffer.from(`${token} ${known}`).toString("hex"))
  // The first window is looked at when so many bytes are there.
  const edge = scanner.holdBack + WINDOW
  for (let before = edge - value.length - 300; before < edge + 300; before += 31) {
    const bytes = Buffer.concat([Buffer.from(filler(before)), value, Buffer.from(filler(200_000))])
    const { rules, releasedBefore } = scan(bytes, 1024)
    expect([before, rules.sort()]).toEqual([before, ["github-pat", "known-secret"]])
    expect(releasedBefore).toBeLessThanOrEqual(before)
  }
})

test("one byte at a time", () => {
  const bytes = Buffer.from(`${filler(90_000)}${token}${filler(20_000)}`)
  expect(scan(bytes, 1).rules).toEqual(["github-pat"])
})

test("findings tell where in the body", () => {
  const at = 300_000
  const bytes = Buffer.from(`${filler(at)}\n${token}\n${filler(100_000)}`)
  expect(scan(bytes, 10_000).findings[0]).toMatchObject({
    place: { part: "body" },
    offset: at + 1,
    decoded: [],
  })
})

test("compressed data longer than a window is held until it is whole", () => {
  const noise = randomBytes(200_000).toString("latin1")
  // What does not shrink is stored as it is, so the token must end before the sum does.
  const packed = gzipSync(Buffer.from(`${noise}${token}\n`, "latin1"))
  expect(packed.length).toBeGreaterThan(150_000)
  const bytes = Buffer.concat([Buffer.from(filler(50_000)), packed, Buffer.from(filler(200_000))])
  const { rules, releasedBefore } = scan(bytes, 10_000)
  expect(rules).toEqual(["github-pat"])
  expect(releasedBefore).toBeLessThanOrEqual(50_000)
  const text = JSON.stringify({ file: packed.toString("base64") })
  expect(scan(Buffer.from(text), 10_000).rules).toEqual(["github-pat"])
})

describe("whole bodies in a content encoding", () => {
  for (const encoding of CONTENT_ENCODINGS) {
    test(encoding.name, () => {
      const clean = encoding.wrap(Buffer.from(filler(300_000)))
      expect(scan(clean, 1000, "application/json", encoding.name)).toMatchObject({
        rules: [],
        released: clean.length,
      })
      const packed = encoding.wrap(Buffer.from(`${filler(300_000)}${token}`))
      const outcome = scan(packed, 1000, "application/json", encoding.name)
      expect(outcome.rules).toEqual(["github-pat"])
      expect(outcome.findings[0]!.decoded).toEqual([encoding.name])
      expect(outcome.releasedBefore).toBe(0)
      const cut = scan(packed.subarray(0, packed.length - 20), 1000, "", encoding.name)
      expect(cut.released).toBe(0)
      expect(cut.rules.length).toBeGreaterThan(0)
    })
  }
  test("two encodings, one over the other", () => {
    const packed = gzipSync(brotliCompressSync(Buffer.from(token)))
    expect(scan(packed, 10, "", "br, gzip").rules).toEqual(["github-pat"])
  })
  test("several members of gzip", () => {
    const packed = Buffer.concat([
      gzipSync(Buffer.from(token.slice(0, 20))),
      gzipSync(Buffer.from(token.slice(20))),
    ])
    expect(scan(packed, 10, "", "gzip").rules).toEqual(["github-pat"])
  })
  test("an encoding that is unknown, or a body that is not what it says, is refused", () => {
    expect(scan(Buffer.from("x"), 1, "", "compress")).toMatchObject({ rules: ["undecodable"], released: 0 })
    expect(scan(Buffer.from(filler(100)), 10, "", "gzip")).toMatchObject({
      rules: ["undecodable"],
      released: 0,
    })
    expect(scan(Buffer.alloc(0), 1, "", "gzip")).toMatchObject({ rules: [], released: 0 })
  })
})

describe("bombs are refused", () => {
  const bomb = Buffer.alloc(DECODED_MAX + MIB, "a")
  test("in a content encoding", () => {
    for (const encoding of CONTENT_ENCODINGS) {
      expect(scan(encoding.wrap(bomb), MIB, "", encoding.name)).toMatchObject({
        rules: ["decoded-bytes"],
        released: 0,
      })
    }
  })
  test("in a body", () => {
    for (const packed of [gzipSync(bomb), zstdCompressSync(bomb)]) {
      expect(scan(packed).rules).toEqual(["decoded-bytes"])
      expect(scan(Buffer.from(packed.toString("base64"))).rules).toEqual(["decoded-bytes"])
    }
  })
  test("of bombs", () => {
    const rules = scan(gzipSync(gzipSync(gzipSync(bomb)))).rules
    expect(rules).toEqual(["decoded-bytes"])
  })
  test("a compressed body that does not end", () => {
    const head = gzipSync(randomBytes(HELD_MAX + 2 * MIB))
    const outcome = scan(head.subarray(0, HELD_MAX + MIB), 256 * 1024)
    expect(["held-bytes", "decoded-bytes"]).toContain(outcome.rules[0]!)
    expect(outcome.released).toBe(0)
    expect(scan(head.subarray(0, HELD_MAX + MIB), 256 * 1024, "", "gzip")).toMatchObject({
      rules: ["held-bytes"],
      released: 0,
    })
  })
})

test("a body that gave the scanner too much releases nothing more, whatever comes", () => {
  const body = scanner.body("", "zip")
  expect(body.push(Buffer.from("x")).stopped).toBe(true)
  expect(body.push(Buffer.from(filler(1000)))).toMatchObject({ release: 0, stopped: true })
  expect(body.end()).toMatchObject({ release: 0, stopped: true })
})

test("parts of a multipart body, also encoded ones, are looked at; a part that cannot be is refused", () => {
  const part = (headers: string, content: string) =>
    `--b0\r\nContent-Disposition: form-data; name="f"\r\n${headers}\r\n${content}\r\n`
  const type = "multipart/form-data; boundary=b0"
  const of = (...parts: string[]) => scan(Buffer.from(`${parts.join("")}--b0--\r\n`), 100, type).rules
  expect(of(part("", "hello"), part("", token))).toEqual(["github-pat"])
  const lines = Buffer.from(`${filler(500)} ${token}`)
    .toString("base64")
    .replace(/.{76}/g, "$&\r\n")
  expect(of(part("Content-Transfer-Encoding: base64\r\n", lines))).toEqual(["github-pat"])
  expect(
    of(
      part("Content-Transfer-Encoding: quoted-printable\r\n", `${token.slice(0, 11)}=\r\n${token.slice(11)}`),
    ),
  ).toEqual(["github-pat"])
  expect(of(part("Content-Encoding: br\r\n", "..."))).toEqual(["undecodable"])
  expect(of(part("Content-Type: text/plain\r\n", "hello"))).toEqual([])
})

describe("after a mebibyte of the worst, the secret is found or the body refused", () => {
  const near = {
    "near misses of every keyword": `gh${"p"}_abc sk_${"live"}_ AK${"IA"} xox${"b"}- glpat- -----BEGIN AIza eyJhbGci heroku= `,
    "one keyword without end": `gh${"p"}_`,
    "tokens one character short": `gh${"p"}_${characters(ALNUM, 35)} `,
    placeholders: `gh${"p"}_${"a".repeat(36)} `,
    "assignments without values": "heroku = datadog = okta = twilio = ",
    "an address without end": `https${"://"}aaaa:bbbb`,
    "headers of private keys": "-----BEGIN RSA PRIVATE KEY-----\n",
    "gzip headers": "\u001f\u008b\u0008\u0000\u0000\u0000\u0000\u0000\u0000\u0003",
    "zlib headers": "x\u009c",
    "stored zlib blocks": "x\u0001\u0001\u0010\u0000\u00ef\u00ff0123456789abcdef",
    "zstd magic": "(\u00b5/\u00fd",
    "percent of percent": "%2525252525",
    backslashes: "\\",
    "escapes of escapes": "\\\\u005cu005c",
    quotes: '"a"+',
    ampersands: "&#38;#38;",
    equals: "=3D=3D",
    "zero bytes": "a\u0000",
    "one long word": "Ab",
    hexadecimal: "4a6b",
    base32: "MZXW6YTB",
  }
  for (const [name, unit] of Object.entries(near)) {
    test(name, () => {
      const hostile = Buffer.from(unit.repeat(Math.ceil(MIB / unit.length)).slice(0, MIB), "latin1")
      const bytes = Buffer.concat([hostile, Buffer.from(`\n${token}\n`)])
      for (const size of [bytes.length, 50_000]) {
        const { findings } = scan(bytes, size)
        const blocked = findings.filter((one) => one.rule === "github-pat" || one.bound !== undefined)
        expect(blocked.length).toBeGreaterThan(0)
      }
    })
  }
  test("random bytes", () => {
    const bytes = Buffer.concat([randomBytes(MIB), Buffer.from(`\n${token}\n`)])
    expect(scan(bytes, 50_000).rules).toContain("github-pat")
  })
  test("a mebibyte of random base64", () => {
    const bytes = Buffer.from(`{"image":"${randomBytes(MIB).toString("base64")}","x":"${token}"}`)
    expect(scan(bytes, 50_000).rules).toEqual(["github-pat"])
  })
  test("a known secret again and again", () => {
    const outcome = scan(Buffer.from(`${known} `.repeat(MIB / 41)), 50_000)
    expect(outcome.rules).toEqual(["known-secret"])
    expect(outcome.releasedBefore).toBe(0)
  })
  test("a list of tokens, which is told by its first hundred, and hides no known secret", () => {
    const list = Array.from({ length: 5000 }, () => `gh${"p"}_${characters(ALNUM, 36)}`).join("\n")
    const { rules } = scan(Buffer.from(`${list}\n${known}\n`), 10_000)
    expect(rules.filter((rule) => rule === "github-pat").length).toBe(100)
    expect(rules.at(-1)).toBe("known-secret")
    expect(rules.length).toBe(101)
  })
})

test("pictures and archives of a usual size pass", () => {
  const noise = randomBytes(1_500_000)
  const png = Buffer.concat([
    Buffer.from("\u0089PNG\r\n\u001a\n", "latin1"),
    Buffer.from("IDATx\u009c", "latin1"),
    noise,
  ])
  const text = Buffer.from(JSON.stringify({ source: { type: "base64", data: png.toString("base64") } }))
  expect(scan(text, 65_536)).toMatchObject({ rules: [], released: text.length })
  const words = Array.from({ length: 400 }, () => characters("etaoinshrdlu", 3 + (randomBytes(1)[0]! % 6)))
  const prose = Array.from({ length: 500_000 }, () => words[randomBytes(2).readUInt16LE() % 400]).join(" ")
  const archive = gzipSync(Buffer.from(prose))
  expect(scan(archive, 65_536)).toMatchObject({ rules: [], released: archive.length })
})
