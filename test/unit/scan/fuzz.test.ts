/**
 * Hostile bytes for each decoder: no crash, no hang, no growth. The seed is printed, and taken from SCAN_FUZZ_SEED when
 * set; SCAN_FUZZ_RUNS sets how many inputs each parser gets.
 */
import { describe, expect, test } from "bun:test"
import { randomInt } from "node:crypto"
import { brotliCompressSync, deflateRawSync, gzipSync, zstdCompressSync } from "node:zlib"
import { BudgetSpent } from "../../../src/policy/scan/budget.ts"
import { decompress } from "../../../src/policy/scan/decode/compressed.ts"
import { encodingsOf, undoEncodings } from "../../../src/policy/scan/decode/content-encoding.ts"
import { decodeDigits } from "../../../src/policy/scan/decode/digits.ts"
import { ESCAPES } from "../../../src/policy/scan/decode/escapes.ts"
import { inflate } from "../../../src/policy/scan/decode/inflate.ts"
import { joinStrings } from "../../../src/policy/scan/decode/joins.ts"
import { rewrite } from "../../../src/policy/scan/decode/rewrite.ts"
import { decodeWide } from "../../../src/policy/scan/decode/wide.ts"
import { zstdFrameEnd } from "../../../src/policy/scan/decode/zstd-frame.ts"
import { defaultRuleset } from "../../../src/policy/scan/rules/default.ts"
import { compile } from "../../../src/policy/scan/scanner.ts"
import { rootView, sourceOf, type View } from "../../../src/policy/scan/view.ts"

const SEED = Number(process.env.SCAN_FUZZ_SEED ?? randomInt(2 ** 31))
const RUNS = Number(process.env.SCAN_FUZZ_RUNS ?? 1500)
/** One input may take so long, in milliseconds, however busy the machine is */
const HANG_MS = 1000
console.error(`scan fuzz: SCAN_FUZZ_SEED=${SEED} SCAN_FUZZ_RUNS=${RUNS}`)

/** Mulberry32: the same inputs for the same seed. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const PIECES = [
  ..."\\ % & = \" ' ` + , . ( ) \n \r \0 x u U { } # ; - _ /".split(" "),
  ...[
    "%25",
    "%u0041",
    "\\u0041",
    "\\ud83d",
    "\\u{1f600}",
    "\\x41",
    "\\101",
    "&#65;",
    "&#x41;",
    "&amp;",
    "=3D",
    "=\r\n",
  ],
  ...["QUJDREVGR0hJSktMTU5PUFFSU1Q=", "4142434445464748494a4b4c4d4e4f50", "IFBEGRCFIZDUQSKKJNGE2TSPKBIVEU2U"],
  ...["ghp_", "sk_live_", "AKIA", "-----BEGIN PRIVATE KEY-----", "eyJhbGciOi", "https://a:b@", "heroku = "],
  ...["\u001f\u008b\u0008", "x\u009c", "PK\u0003\u0004", "(\u00b5/\u00fd", "IDAT"],
]

/** Pieces that decoders look for, in any order, with bytes of any value between them, and whole things damaged. */
function hostile(random: (below: number) => number): Uint8Array {
  const kind = random(4)
  if (kind === 0) return Uint8Array.from({ length: random(2000) }, () => random(256))
  let text = ""
  const length = random(1500)
  while (text.length < length) {
    text +=
      random(6) === 0
        ? String.fromCharCode(random(256))
        : PIECES[random(PIECES.length)]!.repeat(1 + random(3))
  }
  const bytes = Buffer.from(text, "latin1")
  if (kind === 1) return bytes
  const pack = [gzipSync, deflateRawSync, zstdCompressSync, brotliCompressSync][random(4)]!
  const packed = Buffer.from(pack(bytes))
  for (let i = random(4); i > 0; i--) packed[random(packed.length)] = random(256)
  return random(3) === 0 ? packed.subarray(0, random(packed.length)) : packed
}

/** A view's segments must lie in their source, whatever the bytes. */
function checkView(view: View): void {
  const source = view.parent!.bytes.length
  for (let i = 0; i < view.starts.length; i++) {
    expect(view.from[i]!).toBeGreaterThanOrEqual(0)
    expect(view.to[i]!).toBeLessThanOrEqual(source)
    expect(view.to[i]!).toBeGreaterThanOrEqual(view.from[i]!)
    expect(sourceOf(view, view.starts[i]!)).toBeLessThanOrEqual(source)
  }
}

const tolerant = { work() {}, left: 1 << 20, unfinished: () => false }

const scanner = compile(defaultRuleset(), [{ name: "a", value: "Tr0ub4dor-and-3" }])

/** Each parser with the most that it may make of its input, in bytes. */
const PARSERS: Record<string, { run(bytes: Uint8Array): number; most(length: number): number }> = {
  ...Object.fromEntries(
    ESCAPES.map((form) => [
      form.name,
      {
        run: (bytes: Uint8Array) => sizeOf([rewrite(form, rootView(bytes))]),
        // An escape of two characters gives one at most; segments have separators.
        most: (length: number) => length * 2,
      },
    ]),
  ),
  joins: { run: (bytes) => sizeOf([joinStrings(rootView(bytes))]), most: (length) => length * 2 },
  digits: { run: (bytes) => sizeOf(decodeDigits(rootView(bytes))), most: (length) => length * 10 },
  wide: { run: (bytes) => sizeOf([decodeWide(rootView(bytes))]), most: (length) => length + 1 },
  compressed: {
    run: (bytes) => spent(() => sizeOf([...decompress(rootView(bytes), tolerant)])),
    most: () => Number.POSITIVE_INFINITY,
  },
  inflate: { run: (bytes) => inflate(bytes, 0, bytes.length, 1 << 16).bytes.length, most: () => 1 << 16 },
  "zstd frames": {
    run: (bytes) => Math.max(0, zstdFrameEnd(bytes, 0, bytes.length)),
    most: (length) => length,
  },
  "content encodings": {
    run: (bytes) =>
      ["gzip", "deflate", "br", "zstd"].reduce(
        (most, name) =>
          Math.max(
            most,
            spent(() => undoEncodings(bytes, encodingsOf(name)!, 1 << 16).length),
          ),
        0,
      ),
    most: () => 1 << 16,
  },
  "whole bodies": {
    run(bytes) {
      const body = scanner.body("multipart/mixed", "")
      let released = 0
      for (let at = 0; at < bytes.length; at += 700)
        released += body.push(bytes.subarray(at, at + 700)).release
      const last = body.end()
      return last.stopped ? released : released + last.release
    },
    most: (length) => length,
  },
}

function sizeOf(views: readonly (View | undefined)[]): number {
  let size = 0
  for (const view of views) {
    if (view === undefined) continue
    checkView(view)
    size += view.bytes.length
  }
  return size
}

function spent(run: () => number): number {
  try {
    return run()
  } catch (error) {
    if (error instanceof BudgetSpent) return 0
    throw error
  }
}

describe("hostile bytes", () => {
  for (const [name, parser] of Object.entries(PARSERS)) {
    test(
      name,
      () => {
        const random = generator(SEED)
        for (let i = 0; i < RUNS; i++) {
          const bytes = hostile(random)
          const started = performance.now()
          const size = parser.run(bytes)
          const took = performance.now() - started
          if (size > parser.most(bytes.length) || took > HANG_MS) {
            throw new Error(`input ${i} of seed ${SEED}: ${bytes.length} bytes became ${size} in ${took} ms`)
          }
        }
      },
      { timeout: 600_000 },
    )
  }
})

test(
  "what was packed unpacks to itself",
  () => {
    const random = generator(SEED)
    for (let i = 0; i < RUNS; i++) {
      const bytes = Uint8Array.from({ length: random(5000) }, () => random(1 + random(255)))
      for (const level of [0, 1, 6, 9]) {
        const packed = deflateRawSync(bytes, { level })
        const unpacked = inflate(packed, 0, packed.length, 1 << 16)
        if (
          unpacked.end !== "whole" ||
          unpacked.next !== packed.length ||
          Buffer.compare(unpacked.bytes, bytes) !== 0
        ) {
          throw new Error(`input ${i} of seed ${SEED} at level ${level}: ${unpacked.end}`)
        }
      }
    }
  },
  { timeout: 600_000 },
)
