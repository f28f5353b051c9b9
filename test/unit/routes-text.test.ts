/** The live routes as text that a person edits: every mistake is named and changes nothing. */
import { expect, test } from "bun:test"
import { parseRoutes, routesText } from "../../src/gateway/routes-text.ts"
import type { Policy } from "../../src/policy/schema.ts"
import { BottleError } from "../../src/runtime/error.ts"

const LIVE: Policy = {
  version: 1,
  generation: 7,
  identity: "dev-abc12",
  routes: [
    {
      host: "api.example.com",
      paths: ["/v1/"],
      auth: { scheme: "bearer", credential: "env:A_TOKEN" },
      intercept: true,
      scheme: "https",
      private: [],
      origin: "manifest",
    },
  ],
  placeholders: [{ value: "placeholder-0123", hosts: ["api.example.com"] }],
  host_addresses: ["192.0.2.7"],
}

test("the text that is shown is the text that is taken, as the next generation", () => {
  expect(parseRoutes(routesText(LIVE), LIVE)).toEqual({ ...LIVE, generation: 8 })
})

test("an edit changes routes alone: placeholders, addresses and proxy stay", () => {
  const next = parseRoutes("routes: [{ host: NEW.example.com. }]", LIVE)
  expect(next).toMatchObject({ placeholders: LIVE.placeholders, host_addresses: LIVE.host_addresses })
  expect(next.routes).toEqual([
    { host: "new.example.com", intercept: true, scheme: "https", private: [], origin: "edit" },
  ])
})

const mistakes: [string, string, string][] = [
  ["no YAML", "routes: [", "flow"],
  ["another key", "routes: []\nhosts: []", "hosts"],
  ["no list", "routes: x", "routes"],
  ["a key twice", "routes: []\nroutes: []", "unique"],
  ["an alias", "routes: &r [*r]", "aliases"],
  ["a host that is none", "routes: [{ host: 'a b' }]", "is not a host"],
  ["a host twice, in two spellings", "routes: [{ host: a.example }, { host: A.EXAMPLE }]", "two entries"],
  ["a path that is none", "routes: [{ host: a.example, paths: ['v1'] }]", "path rule"],
  ["a range that is none", "routes: [{ host: a.example, private: ['10.0.0.0/99'] }]", "range"],
  [
    "a credential that was not loaded",
    "routes: [{ host: a.example, auth: { scheme: bearer, credential: 'env:OTHER' } }]",
    "not loaded (there are: env:A_TOKEN)",
  ],
  [
    "a credential in the clear",
    "routes: [{ host: a.example, scheme: http, auth: { scheme: bearer, credential: 'env:A_TOKEN' } }]",
    "in the clear",
  ],
  [
    "a credential where nobody looks",
    "routes: [{ host: a.example, intercept: false, auth: { scheme: bearer, credential: 'env:A_TOKEN' } }]",
    "intercept",
  ],
  [
    "more routes than a policy takes",
    `routes: [${Array.from({ length: 1025 }, (_, i) => `{ host: h${i}.example }`).join(", ")}]`,
    "routes",
  ],
]
for (const [what, text, why] of mistakes) {
  test(`${what} is refused with its place and the next step`, () => {
    const error = (() => {
      try {
        return parseRoutes(text, LIVE)
      } catch (thrown) {
        return thrown
      }
    })()
    expect(error).toBeInstanceOf(BottleError)
    const { why: said, next } = error as BottleError
    expect(said.toLowerCase()).toContain(why.toLowerCase())
    expect(next).not.toBe("")
  })
}
