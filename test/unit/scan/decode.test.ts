/** Secrets are found in every encoding, in encodings of encodings, and put together from pieces. */
import { describe, expect, test } from "bun:test"
import { randomBytes, randomUUID } from "node:crypto"
import { gzipSync } from "node:zlib"
import { defaultRuleset } from "../../../src/policy/scan/rules/default.ts"
import { compile } from "../../../src/policy/scan/scanner.ts"
import { DEPTH_MAX } from "../../../src/policy/scan/walk.ts"
import { ENCODINGS, type Encoding } from "../../fixtures/encodings.ts"
import { ALNUM, characters } from "../../fixtures/planted-secret.ts"

const token = `gh${"p"}_${characters(ALNUM, 34)}a1`
const known = `Kn0wn-${randomUUID()}`
const scanner = compile(defaultRuleset(), [{ name: "API", value: known }])

/** Rules found in a text that stands inside of another. */
function found(bytes: Uint8Array | string): string[] {
  const inside = Buffer.concat([
    Buffer.from("before "),
    Buffer.from(bytes as Uint8Array),
    Buffer.from(" after"),
  ])
  const body = scanner.body("application/octet-stream", "")
  return [...body.push(inside).findings, ...body.end().findings].map(
    (finding) => finding.bound ?? finding.rule,
  )
}

const secrets = { token: [token, "github-pat"], known: [known, "known-secret"] } as const

describe("in every encoding", () => {
  for (const encoding of ENCODINGS) {
    test(encoding.name, () => {
      for (const [secret, rule] of Object.values(secrets)) {
        expect(found(encoding.wrap(Buffer.from(secret)))).toEqual([rule])
        expect(found(encoding.wrap(Buffer.from(`text around ${secret}, and more`)))).toEqual([rule])
      }
    })
  }
})

describe("in every encoding of every encoding", () => {
  for (const outer of ENCODINGS) {
    for (const inner of ENCODINGS) {
      // UTF-16 carries characters, so bytes go through a text before.
      if (outer.name.startsWith("UTF-16") && !inner.text) continue
      test(`${inner.name} in ${outer.name}`, () => {
        for (const [secret, rule] of Object.values(secrets)) {
          const wrapped = outer.wrap(inner.wrap(Buffer.from(`some text ${secret} and more`)))
          expect(found(wrapped)).toContain(rule)
          expect(found(wrapped)).not.toContain("depth")
        }
      })
    }
  }
})

test("bytes in base64 that are UTF-16 are text, too", () => {
  const wide = Buffer.from(`password: ${token}`, "utf16le")
  expect(found(wide.toString("base64"))).toEqual(["github-pat"])
})

test("as deep as the bound says, and refused beyond it", () => {
  const base64 = ENCODINGS.find((encoding) => encoding.name === "base64") as Encoding
  let wrapped: Uint8Array = Buffer.from(`here it is: ${token}`)
  for (let depth = 1; depth <= DEPTH_MAX + 6; depth++) {
    wrapped = base64.wrap(wrapped)
    expect([depth, found(wrapped)]).toEqual([depth, [depth <= DEPTH_MAX ? "github-pat" : "depth"]])
  }
})

test("no mix of encodings goes deeper unseen", () => {
  const text = ENCODINGS.filter((encoding) => encoding.text && encoding.name !== "percent, mixed")
  for (const encoding of text) {
    let wrapped: Uint8Array = Buffer.from(`here it is: ${token}, as deep as can be`)
    for (let depth = 0; depth < 3; depth++) {
      wrapped = encoding.wrap(text[(depth * 5 + 3) % text.length]!.wrap(wrapped))
    }
    const rules = found(wrapped)
    expect([encoding.name, rules.includes("github-pat") || rules.includes("depth")]).toEqual([
      encoding.name,
      true,
    ])
  }
})

describe("put together from strings", () => {
  const [a, b, c] = [token.slice(0, 9), token.slice(9, 20), token.slice(20)]
  const programs: Record<string, string> = {
    "a sum": `const key = "${a}" + "${b}" + "${c}"`,
    "a sum over lines": `key = ('${a}' +\n       '${b}' +\n       '${c}')`,
    "literals below each other": `key = "${a}"\n      "${b}"\n      "${c}"`,
    "an array": JSON.stringify({ parts: [a, b, c] }),
    "an array over lines": JSON.stringify({ parts: [a, b, c] }, null, 4),
    "an array of letters": JSON.stringify([...token]),
    "dots of PHP": `$key = "${a}" . "${b}" . "${c}";`,
    "a continued line": `KEY="${a}\\\n${b}\\\n${c}"`,
    "mixed quotes": `"${a}" + '${b}' + \`${c}\``,
  }
  for (const [name, program] of Object.entries(programs)) {
    test(name, () => {
      expect(found(program)).toEqual(["github-pat"])
      expect(found(JSON.stringify({ content: program }))).toEqual(["github-pat"])
    })
  }
  test("cut at any place", () => {
    for (let cut = 1; cut < token.length; cut++) {
      expect(found(`"${token.slice(0, cut)}" + "${token.slice(cut)}"`)).toEqual(["github-pat"])
      expect(found(`"${known.slice(0, cut)}", "${known.slice(cut)}"`)).toEqual(["known-secret"])
    }
  })
})

test("compressed data that is cut off or damaged gives what it still holds", () => {
  const noise = randomBytes(3000).toString("base64")
  const whole = gzipSync(Buffer.from(`${token} ${noise}`))
  expect(found(whole.subarray(0, whole.length - 400))).toEqual(["github-pat"])
  const damaged = Buffer.from(whole)
  damaged[damaged.length - 3]! ^= 0xff
  damaged[damaged.length - 200]! ^= 0xff
  expect(found(damaged)).toEqual(["github-pat"])
})

test("base64 that is broken by escaped line ends is one piece", () => {
  const data = gzipSync(Buffer.from(`${randomBytes(6000).toString("base64")} ${token}`)).toString("base64")
  const lines = data.replace(/.{3000}/g, "$&\n")
  expect(found(JSON.stringify({ file: lines }))).toEqual(["github-pat"])
})
