/** Loading a gateway that was restarted: beside an attached terminal, and never with more than was agreed to. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
import { namesOf } from "../../src/backend/docker/names.ts"
import { createScripted, type Scripted, STAY } from "./scripted.ts"

let scripted: Scripted

beforeAll(async () => {
  scripted = await createScripted()
})
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

async function onlyIdentity(): Promise<string> {
  const [identity] = (await scripted.remains()).state.filter((name) => !name.includes("."))
  if (identity === undefined) throw new Error("no bottle")
  return identity
}

/** The generation that the sandbox sees, 0 while nothing is loaded. */
function generation(identity: string): Promise<string> {
  const line =
    "curl -s -x http://127.0.0.1:9099 http://bottle.internal/policy | sed -n 's/.*\"generation\": *\\([0-9]*\\).*/\\1/p'"
  return scripted.inside(identity, line)
}

test("a gateway is loaded again while a terminal is attached to its agent", async () => {
  await using terminal = scripted.terminal(`echo ready; ${STAY}`)
  await terminal.sees("ready")
  const identity = await onlyIdentity()
  await scripted.world.docker("restart", namesOf(identity).sidecars)
  expect(await generation(identity)).toBe("")
  const reloaded = await scripted.bottleWith({ AGENT_SCRIPT: STAY }, "reload", identity)
  expect(reloaded.stderr).toContain("loaded")
  expect(reloaded.code).toBe(0)
  expect(await generation(identity)).toBe("1")
})

test("an agent's file that names another bottle by now is not loaded into the one that runs", async () => {
  const identity = await scripted.detached(STAY)
  const { world } = scripted
  world.bottleFile("wider", "env: { SCRIPT: x }\negress: { routes: [{ host: elsewhere.example.com }] }")
  world.agentFile("scripted", "bottle: wider")
  const refused = await scripted.bottleWith({ AGENT_SCRIPT: STAY }, "reload", identity)
  world.agentFile("scripted", "bottle: scripted")
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain("its file names wider now")
  expect(await world.ok("routes", "show", identity)).not.toContain("elsewhere")
})

test("a bottle that has ended is not given its credentials again", async () => {
  const identity = await scripted.detached("exit 3")
  await scripted.ended(identity)
  const refused = await scripted.bottleWith({ AGENT_SCRIPT: STAY }, "reload", identity)
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain("does not run")
})
