import { expect, test } from "bun:test"
import { readFileSync, statSync } from "node:fs"
import { trustIn } from "../../src/manifest/trust.ts"
import { ManifestHome, manifest } from "../fixtures/manifest-home.ts"

test("an agent of a repository is trusted by its hash, and a changed file is a new one", async () => {
  using home = new ManifestHome({
    "bottles/dev.md": manifest("repo_agents: true"),
    "repo/.bottle/agents/helper.md": manifest("bottle: dev", "one"),
  })
  const trust = trustIn(home.home)
  const agent = home.load().agent("helper")
  expect(await trust.isTrusted(agent.hash)).toBe(false)
  await trust.trust(agent.hash, agent)
  expect(await trustIn(home.home).isTrusted(agent.hash)).toBe(true)
  home.write("repo/.bottle/agents/helper.md", manifest("bottle: dev", "two"))
  expect(await trust.isTrusted(home.load().agent("helper").hash)).toBe(false)
})

test("the file is the user's alone and says what was agreed to", async () => {
  using home = new ManifestHome()
  const hash = "a".repeat(64)
  await trustIn(home.home).trust(hash, { name: "helper", file: "/repo/helper.md" })
  expect(statSync(home.path("trusted.json")).mode & 0o777).toBe(0o600)
  expect(JSON.parse(readFileSync(home.path("trusted.json"), "utf8")).agents[hash]).toMatchObject({
    name: "helper",
    file: "/repo/helper.md",
  })
})

test("agreements made at once are all kept", async () => {
  using home = new ManifestHome({ "bottles/dev.md": "---\n---\n" })
  const hashes = Array.from({ length: 8 }, (_, index) => String(index).repeat(64))
  await Promise.all(hashes.map((hash) => trustIn(home.home).trust(hash, { name: "x", file: "/x" })))
  const known = await Promise.all(hashes.map((hash) => trustIn(home.home).isTrusted(hash)))
  expect(known).toEqual(hashes.map(() => true))
})

test.each(["not json", '{"version": 2}', '{"version":1,"agents":{"short":{}}}'])(
  "a damaged file (%s) trusts nobody and is not overwritten",
  async (text) => {
    using home = new ManifestHome({ "trusted.json": text })
    const trust = trustIn(home.home)
    await expect(trust.isTrusted("a".repeat(64))).rejects.toThrow(
      "so no agent of a repository can be started",
    )
    await expect(trust.trust("a".repeat(64), { name: "x", file: "/x" })).rejects.toThrow("cannot be read")
    expect(readFileSync(home.path("trusted.json"), "utf8")).toBe(text)
  },
)
