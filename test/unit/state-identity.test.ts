import { expect, test } from "bun:test"
import { mintIdentity, parseIdentity } from "../../src/bottle/identity.ts"

test("an identity is the agent's name and five base36 characters", () => {
  expect(mintIdentity("dev")).toMatch(/^dev-[0-9a-z]{5}$/)
})

test("identities of one agent differ", () => {
  const minted = new Set(Array.from({ length: 200 }, () => mintIdentity("dev")))
  // 200 of 60 million: a repetition among them has a chance of 1 in 3,000, two repetitions practically none.
  expect(minted.size).toBeGreaterThanOrEqual(199)
})

test.each([
  ["a".repeat(60), "a".repeat(40)],
  [`${"a".repeat(39)}-bcd`, "a".repeat(39)],
  ["Dev Agent_2", "dev-agent-2"],
  ["--x--", "x"],
  ["../../etc", "etc"],
  ["ä", "agent"],
  ["", "agent"],
])("the agent name %p becomes %p and the whole stays within 46 characters", (name, agent) => {
  const identity = mintIdentity(name)
  expect(identity.length).toBeLessThanOrEqual(46)
  expect(parseIdentity(identity)?.agent).toBe(agent)
})

test("an agent's name may hold dashes and still be told from the random part", () => {
  expect(parseIdentity("my-dev-0z9y8")).toEqual({ text: "my-dev-0z9y8", agent: "my-dev", suffix: "0z9y8" })
})

test.each([
  "",
  "dev",
  "dev-ABCDE",
  "dev-abcd",
  "-abcde",
  "dev--abcde",
  "dev-abcde\n",
  "../dev-abcde",
  "dev/x-abcde",
  ".gone-dev-abcde",
  `${"a".repeat(41)}-abcde`,
])("%p is not an identity", (text) => {
  expect(parseIdentity(text)).toBeUndefined()
})
