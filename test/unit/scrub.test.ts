import { describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import fc from "fast-check"
import { spellings } from "../../sidecars/egress/needles.ts"
import { compileSecrets, createScrubber, type Scrubber } from "../../sidecars/egress/scrub.ts"

/** A secret in the form of an API key, made at run time. */
function makeSecret(): string {
  return `sk-${randomBytes(24).toString("base64url")}`
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "utf8"))
}

/** Pushes the bytes in pieces of the given lengths, cyclically, and joins what comes out. */
function run(
  scrubber: Scrubber,
  bytes: Uint8Array,
  lengths: readonly number[] = [bytes.length || 1],
): Uint8Array {
  const out: Uint8Array[] = []
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const length = Math.max(1, lengths[i % lengths.length] ?? 1)
    out.push(scrubber.push(bytes.slice(at, at + length)).slice())
    at += length
  }
  out.push(scrubber.end().slice())
  return new Uint8Array(Buffer.concat(out))
}

/** The last chunk of a stream, with what was held back, as text. */
function last(scrubber: Scrubber, bytes: Uint8Array): string {
  return Buffer.concat([scrubber.push(bytes), scrubber.end()]).toString()
}

/** What must come out, by the slow and plain way: every byte of every occurrence is filled. */
function expected(bytes: Uint8Array, secrets: readonly string[], fill: number): Uint8Array {
  const out = bytes.slice()
  for (const needle of secrets.flatMap(spellings)) {
    for (let at = 0; at + needle.length <= bytes.length; at++) {
      if (needle.every((byte, i) => bytes[at + i] === byte)) out.fill(fill, at, at + needle.length)
    }
  }
  return out
}

/** Encoders as servers have them, each independent of the code under test. */
const ENCODERS: Record<string, (secret: string) => string | Uint8Array> = {
  raw: (s) => s,
  "encodeURIComponent, upper case": (s) => encodeURIComponent(s),
  "encodeURIComponent, lower case": (s) =>
    encodeURIComponent(s).replace(/%[0-9A-F]{2}/g, (found) => found.toLowerCase()),
  "HTML form": (s) => new URLSearchParams({ x: s }).toString().slice(2),
  "every byte percent-encoded": (s) =>
    [...Buffer.from(s)].map((b) => `%${b.toString(16).padStart(2, "0")}`).join(""),
  "every byte percent-encoded, upper case": (s) =>
    [...Buffer.from(s)].map((b) => `%${b.toString(16).padStart(2, "0").toUpperCase()}`).join(""),
  hex: (s) => Buffer.from(s).toString("hex"),
  "hex, upper case": (s) => Buffer.from(s).toString("hex").toUpperCase(),
  JSON: (s) => JSON.stringify(s),
  "JSON with escaped slashes": (s) => JSON.stringify(s).replaceAll("/", "\\/"),
  "JSON with every character escaped": (s) =>
    s.replace(/./gs, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
  "JSON in ASCII": (s) =>
    JSON.stringify(s).replace(
      /[\u007f-\uffff]/g,
      (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
    ),
  "JSON in a page": (s) =>
    JSON.stringify(s).replace(/[<>&]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
  "HTML text": (s) => s.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"),
  "UTF-16LE": (s) => new Uint8Array(Buffer.from(s, "utf16le")),
  "UTF-16BE": (s) => new Uint8Array(Buffer.from(s, "utf16le").swap16()),
}

/** A secret of at least 8 bytes, without the byte that fills. */
const printable = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)),
  minLength: 8,
  maxLength: 60,
})
const asciiSecret = printable.filter((s) => !s.includes("*"))
const anySecret = fc
  .oneof(printable, fc.string({ unit: "grapheme", minLength: 8, maxLength: 40 }))
  .filter((s) => !s.includes("*"))

const chunking = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 })

describe("an echoed secret", () => {
  for (const [name, encode] of Object.entries(ENCODERS)) {
    test(`does not come through as ${name}, wherever the stream is cut`, () => {
      fc.assert(
        fc.property(
          anySecret,
          fc.string({ maxLength: 40 }),
          fc.string({ maxLength: 40 }),
          chunking,
          (s, a, b, cuts) => {
            const coded = Buffer.from(encode(s) as Uint8Array)
            const bytes = new Uint8Array(Buffer.concat([Buffer.from(a), coded, Buffer.from(b)]))
            const out = Buffer.from(run(createScrubber([s]), bytes, cuts))
            expect(out.length).toBe(bytes.length)
            const bare = coded.toString("latin1").replace(/^"|"$/g, "")
            expect(out.toString("latin1")).not.toContain(bare)
          },
        ),
        { numRuns: 150 },
      )
    })
  }

  test("does not come through inside base64 of a longer text, at any offset, in either alphabet", () => {
    fc.assert(
      fc.property(
        asciiSecret,
        fc.string({ maxLength: 9 }),
        fc.string({ maxLength: 9 }),
        chunking,
        (s, a, b, cuts) => {
          for (const alphabet of ["base64", "base64url"] as const) {
            const coded = Buffer.from(`${a}${s}${b}`).toString(alphabet)
            const out = Buffer.from(run(createScrubber([s]), bytesOf(coded), cuts)).toString()
            expect(out.length).toBe(coded.length)
            // Only up to two bytes at each end share a character with their neighbours: the rest is gone.
            const left = Buffer.from(out.replaceAll("*", "A"), alphabet).toString("latin1")
            expect(left).not.toContain(s.slice(1, -1))
            expect(out).toMatch(/\*{9,}/)
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  test("is filled with as many bytes as it had", () => {
    const secret = makeSecret()
    const out = run(createScrubber([secret]), bytesOf(`{"echo":"Bearer ${secret}","n":1}`))
    expect(Buffer.from(out).toString()).toBe(`{"echo":"Bearer ${"*".repeat(secret.length)}","n":1}`)
  })

  test("comes through when its scrubber is missing", () => {
    const secret = makeSecret()
    expect(Buffer.from(run(createScrubber([]), bytesOf(`x${secret}y`))).toString()).toContain(secret)
  })

  test("of several secrets that overlap each other, no byte is left", () => {
    const middle = randomBytes(9).toString("hex")
    const one = `${randomBytes(9).toString("hex")}${middle}`
    const two = `${middle}${randomBytes(9).toString("hex")}`
    const text = `${one}${two.slice(middle.length)}`
    for (let length = 1; length < text.length; length++) {
      const out = Buffer.from(run(createScrubber([one, two]), bytesOf(text), [length])).toString()
      expect(out).toBe("*".repeat(text.length))
    }
  })

  test("inside a longer one that is cut off stays out", () => {
    const inner = randomBytes(8).toString("hex")
    const outer = `${randomBytes(4).toString("hex")}${inner}${randomBytes(8).toString("hex")}`
    const text = outer.slice(0, -1)
    const out = Buffer.from(run(createScrubber([inner, outer]), bytesOf(text), [5])).toString()
    expect(out).toBe(`${text.slice(0, 8)}${"*".repeat(inner.length)}${text.slice(8 + inner.length)}`)
  })

  test("made of stars is filled with something else", () => {
    const secret = "*".repeat(12)
    expect(Buffer.from(run(createScrubber([secret]), bytesOf(`a${secret}b`))).toString()).not.toContain(
      secret,
    )
  })
})

describe("any stream", () => {
  test("comes out as the slow reference has it: each occurrence filled, all else unchanged, at any cut", () => {
    // A small alphabet makes partial and overlapping occurrences common.
    const letters = (min: number, max: number) =>
      fc.string({ unit: fc.constantFrom("a", "b"), minLength: min, maxLength: max })
    fc.assert(
      fc.property(
        fc.array(letters(8, 12), { minLength: 1, maxLength: 3 }),
        fc.array(letters(0, 40), { maxLength: 4 }),
        fc.array(fc.nat(2), { maxLength: 6 }),
        chunking,
        (secrets, noise, picks, cuts) => {
          const parts = picks.flatMap((pick, i) => [secrets[pick % secrets.length] ?? "", noise[i % 4] ?? ""])
          const bytes = bytesOf([...noise, ...parts].join(""))
          const want = Buffer.from(expected(bytes, secrets, 0x2a)).toString()
          expect(Buffer.from(run(createScrubber(secrets), bytes, cuts)).toString()).toBe(want)
        },
      ),
      { numRuns: 2000 },
    )
  })

  test("of arbitrary bytes comes out as the slow reference has it", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        asciiSecret,
        fc.nat(300),
        chunking,
        (noise, s, at, cuts) => {
          const bytes = noise.slice()
          bytes.set(bytesOf(s).subarray(0, Math.max(0, bytes.length - at)), Math.min(at, bytes.length))
          expect(run(createScrubber([s]), bytes, cuts)).toEqual(expected(bytes, [s], 0x2a))
        },
      ),
      { numRuns: 500 },
    )
  })

  test("passes uncopied and at once when its end begins no secret", () => {
    const scrubber = createScrubber([makeSecret(), makeSecret()])
    const event = bytesOf('data: {"type":"content_block_delta","delta":{"text":"hello"}}\n\n')
    expect(scrubber.push(event)).toBe(event)
    expect(scrubber.end().length).toBe(0)
  })

  test("is held back only from where a secret may have begun", () => {
    const secret = makeSecret()
    const scrubber = createScrubber([secret])
    const first = scrubber.push(bytesOf(`data ${secret.slice(0, 10)}`))
    expect(Buffer.from(first).toString()).toBe("data ")
    expect(Buffer.from(scrubber.push(bytesOf("!\n"))).toString()).toBe(`${secret.slice(0, 10)}!\n`)
  })

  test("is not changed in the caller's own buffer", () => {
    const secret = makeSecret()
    const chunk = bytesOf(`a${secret}`)
    const copy = chunk.slice()
    createScrubber([secret]).push(chunk)
    expect(chunk).toEqual(copy)
  })

  test("may reuse the buffer of a chunk as soon as push has returned", () => {
    const secret = makeSecret()
    const scrubber = createScrubber([secret])
    const buffer = bytesOf(secret)
    const half = buffer.slice(0, 10)
    scrubber.push(half)
    half.fill(0)
    expect(last(scrubber, buffer.subarray(10))).toBe("*".repeat(secret.length))
  })
})

describe("hits", () => {
  test("count each occurrence once, whatever the cuts", () => {
    const secret = makeSecret()
    const text = `${secret} and ${Buffer.from(secret).toString("hex")} and ${secret}`
    for (let length = 1; length <= text.length; length++) {
      const scrubber = createScrubber([secret])
      run(scrubber, bytesOf(text), [length])
      expect(scrubber.hits).toBe(3)
    }
  })

  test("count an occurrence once that is held back for the sake of a longer one around it", () => {
    const inner = randomBytes(8).toString("hex")
    const outer = `${randomBytes(4).toString("hex")}${inner}${randomBytes(8).toString("hex")}`
    const scrubber = createScrubber([inner, outer])
    run(scrubber, bytesOf(`${outer.slice(0, -1)}!`), [1])
    expect(scrubber.hits).toBe(1)
  })

  test("stay at zero without one", () => {
    const scrubber = createScrubber([makeSecret()])
    run(scrubber, bytesOf("nothing here".repeat(20)), [7])
    expect(scrubber.hits).toBe(0)
  })
})

describe("text", () => {
  test("is cleaned with its length kept", () => {
    const secret = makeSecret()
    const scrubber = createScrubber([secret])
    expect(scrubber.text(`Bearer ${secret}; x`)).toBe(`Bearer ${"*".repeat(secret.length)}; x`)
    expect(scrubber.hits).toBe(1)
  })

  test("is cleaned of a secret with letters beyond ASCII, decoded as bytes or as UTF-8", () => {
    const secret = `p\u00e4ssw\u00f6rt-${randomBytes(6).toString("hex")}`
    const scrubber = createScrubber([secret])
    expect(scrubber.text(`a ${secret} b`)).not.toContain(secret)
    const asBytes = Buffer.from(secret, "utf8").toString("latin1")
    expect(scrubber.text(`a ${asBytes} b`)).not.toContain(asBytes)
  })

  test("does not come back as the bytes of the header it was sent in, beyond ASCII too", () => {
    const secret = `p\u00e4ssw\u00f6rt-${randomBytes(6).toString("hex")}`
    const sent = Buffer.from(secret, "latin1")
    const percent = sent.toString("hex").replace(/../g, "%$&")
    for (const echo of [sent, sent.toString("base64"), sent.toString("hex"), percent]) {
      const bytes = Buffer.isBuffer(echo) ? echo : Buffer.from(echo)
      expect(Buffer.from(run(createScrubber([secret]), bytes, [3])).includes(bytes)).toBe(false)
    }
  })

  test("does not disturb the stream between two chunks", () => {
    const secret = makeSecret()
    const scrubber = createScrubber([secret])
    scrubber.push(bytesOf(secret.slice(0, 12)))
    scrubber.text(secret)
    expect(last(scrubber, bytesOf(secret.slice(12)))).toBe("*".repeat(secret.length))
  })
})

describe("what is looked for", () => {
  test("leaves out secrets under eight bytes, which would match ordinary traffic", () => {
    expect(compileSecrets(["1", "seven77"]).needles).toEqual([])
    const text = bytesOf("seven77")
    expect(createScrubber(["seven77"]).push(text)).toBe(text)
  })

  test("without secrets passes every chunk as it is", () => {
    const chunk = bytesOf("anything")
    expect(createScrubber([]).push(chunk)).toBe(chunk)
  })

  test("serves many streams from one compiled set", () => {
    const secret = makeSecret()
    const set = compileSecrets([secret])
    const [one, two] = [createScrubber(set), createScrubber(set)]
    one.push(bytesOf(secret.slice(0, 20)))
    expect(Buffer.from(run(two, bytesOf(secret.slice(20)))).toString()).toBe(secret.slice(20))
    expect(last(one, bytesOf(secret.slice(20)))).toBe("*".repeat(secret.length))
  })
})
