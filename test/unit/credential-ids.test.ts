import { expect, test } from "bun:test"
import { compilePolicy } from "../../src/gateway/policy.ts"
import type { BottleRoute, TokenSource } from "../../src/manifest/types.ts"
import { policy } from "../../src/policy/schema.ts"

const route = (host: string, token: TokenSource): BottleRoute => ({
  host,
  auth: { scheme: "bearer", token },
  intercept: true,
  scheme: "https",
  private: [],
  at: "dev.md:3",
})

function compile(...routes: BottleRoute[]) {
  return compilePolicy({
    identity: "dev-abc12",
    routes,
    provider: { name: "command", routes: [] },
    placeholders: [],
    hostAddresses: [],
  })
}

function idsOf(...tokens: TokenSource[]): (string | undefined)[] {
  const compiled = compile(...tokens.map((token, i) => route(`h${i}.example.com`, token)))
  expect(policy().parse(compiled.policy)).toEqual(compiled.policy)
  for (const [i, token] of tokens.entries()) {
    const id = compiled.policy.routes[i]?.auth?.credential ?? ""
    expect(compiled.credentials[id]).toEqual(token)
  }
  return compiled.policy.routes.map((entry) => entry.auth?.credential)
}

test("two commands that begin alike never share a credential", () => {
  const long = `--vault=${"x".repeat(200)}`
  const ids = idsOf(
    { kind: "command", argv: ["pass", long, "one"] },
    { kind: "command", argv: ["pass", long, "two"] },
  )
  expect(new Set(ids).size).toBe(2)
})

test("arguments are told apart wherever their spaces are", () => {
  const ids = idsOf({ kind: "command", argv: ["pass", "a b"] }, { kind: "command", argv: ["pass", "a", "b"] })
  expect(new Set(ids).size).toBe(2)
})

test("a command's arguments do not appear in what the gateway is told", () => {
  const argument = `key-${crypto.randomUUID()}`
  const compiled = compile(route("a.example.com", { kind: "command", argv: ["/usr/bin/pass", argument] }))
  expect(JSON.stringify(compiled.policy)).not.toContain(argument)
  expect(compiled.policy.routes[0]?.auth?.credential).toMatch(/^command:pass-[0-9a-f]{16}$/)
})

test("one source that two routes use is one credential, and long paths fit and differ", () => {
  expect(idsOf({ kind: "env", variable: "A_TOKEN" }, { kind: "env", variable: "A_TOKEN" })).toEqual([
    "env:A_TOKEN",
    "env:A_TOKEN",
  ])
  const folder = `/${"f".repeat(200)}`
  const ids = idsOf(
    { kind: "file", path: `${folder}/one/token` },
    { kind: "file", path: `${folder}/two/token` },
  )
  expect(new Set(ids).size).toBe(2)
  expect(idsOf({ kind: "file", path: "/etc/token" })).toEqual(["file:/etc/token"])
})
