/** A request's head is scanned part by part and over its parts; what is merely random is noted. */
import { expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { HOST_ENTROPY, QUERY_ENTROPY, type RequestHead } from "../../../src/policy/scan/head.ts"
import { defaultRuleset } from "../../../src/policy/scan/rules/default.ts"
import { compile } from "../../../src/policy/scan/scanner.ts"
import { ALNUM, characters, LOWER_HEX } from "../../fixtures/planted-secret.ts"

const token = `gh${"p"}_${characters(ALNUM, 34)}a1`
const known = `Kn0wn-${characters(LOWER_HEX, 20)}`
const scanner = compile(defaultRuleset(), [{ name: "API", value: known }])

function scan(parts: Partial<RequestHead>) {
  return scanner.head({
    host: "api.example.com",
    path: "/v1/items",
    query: "page=2&sort=name",
    ...parts,
    headers: [["User-Agent", "curl/8.0"], ...(parts.headers ?? [])],
  })
}

test("an ordinary head has no findings", () => {
  expect(
    scan({
      headers: [
        ["Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
        ["Accept-Encoding", "gzip, deflate, br"],
        ["If-None-Match", 'W/"5f3e-18a2b3c4d5e"'],
        ["Cookie", "theme=dark; lang=en"],
        ["Content-Type", "application/json"],
      ],
    }),
  ).toEqual([])
})

test("each part is named with the place inside of it", () => {
  const cases: [Partial<RequestHead>, object][] = [
    [{ path: `/a/${token}/b` }, { rule: "github-pat", place: { part: "path" }, offset: 3 }],
    [{ query: `a=1&q=${token}` }, { rule: "github-pat", place: { part: "query" }, offset: 6 }],
    [{ userinfo: `me:${known}` }, { rule: "known-secret", place: { part: "userinfo" }, offset: 3 }],
    [
      { headers: [["X-A", `b ${known}`]] },
      { rule: "known-secret", place: { part: "header-value", name: "X-A" }, offset: 2 },
    ],
    [{ headers: [[`X-${known}`, "b"]] }, { rule: "known-secret", place: { part: "header-name" }, offset: 2 }],
  ]
  for (const [parts, expected] of cases)
    expect(scan(parts).filter((one) => one.severity === "block")).toMatchObject([expected])
})

test("a known secret in labels of a host is found in any case and over labels", () => {
  const hex = Buffer.from(known).toString("hex")
  for (const host of [
    `${known.toLowerCase()}.example.com`,
    `${hex.slice(0, 30)}.${hex.slice(30)}.example.com`,
    `${known.slice(0, 9)}.${known.slice(9)}.x.example.com`.toLowerCase(),
  ]) {
    const found = scan({ host })
    expect([host, found.find((one) => one.rule === "known-secret")?.place.part]).toEqual([host, "host"])
  }
})

test("a secret over several fields, segments or parameters is found", () => {
  for (let cut = 1; cut < token.length; cut++) {
    const [a, b] = [token.slice(0, cut), token.slice(cut)]
    for (const parts of [
      {
        headers: [
          ["X-A", a],
          ["X-B", b],
        ],
      },
      {
        headers: [
          ["X-A", a],
          ["X-A", b],
        ],
      },
      { query: `a=${a}&b=${b}` },
      { path: `/${a}/${b}` },
    ] as Partial<RequestHead>[]) {
      expect([
        parts,
        scan(parts)
          .filter((one) => one.severity === "block")
          .map((one) => one.rule),
      ]).toEqual([parts, ["github-pat"]])
    }
  }
})

test("encoded values in a query are decoded", () => {
  const base64 = Buffer.from(`x ${token}`).toString("base64")
  for (const value of [
    base64,
    encodeURIComponent(base64),
    encodeURIComponent(encodeURIComponent(token)),
    Buffer.from(token).toString("hex"),
  ]) {
    expect(scan({ query: `d=${value}` }).map((one) => one.rule)).toContain("github-pat")
  }
})

test("random labels and parameters are noted, never blocked", () => {
  // Hexadecimal at random comes close to the bound, and now and then below it.
  const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
  const label = Array.from(randomBytes(60), (byte) => letters[byte % letters.length]).join("")
  const found = scan({
    host: `${label}.example.com`,
    query: `a=1&data=${randomBytes(48).toString("base64url")}`,
  })
  expect(found.map(({ rule, severity }) => [rule, severity])).toEqual([
    [HOST_ENTROPY, "note"],
    [QUERY_ENTROPY, "note"],
  ])
  expect(found[1]).toMatchObject({ place: { part: "query", name: "data" }, offset: 9 })
  expect(JSON.stringify(found)).not.toContain(label)
})

test("a head that unfolds without end is refused", () => {
  const bomb = Buffer.from(
    Array.from({ length: 9 }).reduce<string>((text) => Buffer.from(text).toString("base64"), token),
  )
  expect(scan({ query: `a=${bomb.toString()}` }).map((one) => one.rule)).toContain("over-budget")
})
