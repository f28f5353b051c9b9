/** A real Claude Code in a Docker bottle: reaches exactly one host, with a credential it never holds. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { createWorld, type World } from "./world.ts"

let world: World

beforeAll(async () => {
  world = await createWorld({
    answer: (request) =>
      JSON.stringify(request.messages).includes("BASH:") ? "done" : "Hello from the stand-in.",
  })
}, 600_000)
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})

test("one task: the answer is on stdout alone, the real token at the API, and nothing is left", async () => {
  const result = await world.bottle("start", "worker", "--yes", "--prompt", "Say hello")
  expect(result.stderr).not.toContain("error")
  expect(result.stdout.trim()).toBe("Hello from the stand-in.")
  expect(result.code).toBe(0)

  const turns = world.api.requests.filter((request) => request.path.startsWith("/v1/messages"))
  expect(turns.length).toBeGreaterThan(0)
  for (const turn of turns) expect(turn.headers.authorization).toBe(`Bearer ${world.token}`)
  expect(result.stdout + result.stderr).not.toContain(world.token)
  expect(await world.ok("list", "active")).toBe("")
  expect(await world.docker("volume", "ls", "--quiet", "--filter", "name=bottle-worker")).toBe("")
})
