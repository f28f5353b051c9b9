/** Work that was kept stays kept until it is safe elsewhere, over as many sessions as it takes. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { existsSync, readFileSync } from "node:fs"
import { namesOf } from "../../src/backend/docker/names.ts"
import { stateOf } from "../../src/bottle/state-folder.ts"
import { run } from "../../src/runtime/spawn.ts"
import { createScripted, type Scripted } from "./scripted.ts"

let scripted: Scripted

beforeAll(async () => {
  scripted = await createScripted()
})
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})

function resume(identity: string, script: string) {
  const { world } = scripted
  const command = [...world.command, "resume", identity, "--yes", "--prompt", "x"]
  return run(command, { cwd: world.cwd, env: { ...world.env, AGENT_SCRIPT: script } })
}

function identityIn(stderr: string): string {
  return /bottle resume (scripted-[0-9a-z]{5})$/m.exec(stderr)?.[1] ?? `none in: ${stderr}`
}

test("the end of an earlier session never stands for the end of a later one", async () => {
  // It ends badly and changes nothing: kept for its status alone.
  const first = await scripted.start("exit 3", { args: ["--prompt", "x"] })
  expect(first.code).toBe(3)
  const identity = identityIn(first.stderr)
  const { world } = scripted
  const detached = await run([...world.command, "resume", identity, "--yes", "--detach"], {
    cwd: world.cwd,
    env: { ...world.env, AGENT_SCRIPT: "echo precious >/workspace/note; exec sleep infinity" },
  })
  expect(detached.code).toBe(0)
  await scripted.inside(identity, "until [ -s /workspace/note ]; do :; done")
  // Nobody is left who could say how it ends.
  await world.docker("kill", namesOf(identity).sidecars)
  const stopped = await world.bottle("stop", identity)
  expect(identityIn(stopped.stderr)).toBe(identity)
  expect((await resume(identity, "cat /workspace/note")).stdout).toBe("precious\n")
})

test("a resume whose volumes are gone says so and starts nothing", async () => {
  const first = await scripted.start("echo x >/workspace/note", { args: ["--prompt", "x"] })
  const identity = identityIn(first.stderr)
  await scripted.world.docker("volume", "rm", namesOf(identity).volumes.workspace)
  const { code, stderr } = await resume(identity, "true")
  expect(code).toBe(1)
  expect(stderr).toContain("no longer in Docker")
  expect(existsSync(stateOf(scripted.world.home, identity).dir)).toBe(true)
})

test("a kept log holds all that Docker has, however much that is", async () => {
  const line = "x".repeat(1000)
  const script = `for i in $(seq 18000); do echo ${line}; done; echo the-last-line; exit 4`
  const identity = await scripted.detached(script)
  await scripted.ended(identity)
  await scripted.world.ok("cleanup", "--yes")
  const log = readFileSync(`${stateOf(scripted.world.home, identity).log}/agent.log`, "utf8")
  expect(log).toContain("the-last-line")
})
