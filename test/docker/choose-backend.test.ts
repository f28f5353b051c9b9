/** The choice of a backend on a machine that has Docker, while its engine answers and while it does not. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { createWorld, type World } from "../contract/world.ts"

/** No engine answers there. */
const NO_DOCKER = { DOCKER_HOST: "unix:///nonexistent/docker.sock" }

let world: World

beforeAll(async () => {
  world = await createWorld({ name: "docker", backend: "docker", ordinary: false })
  // No word about its backend.
  const provider = "agent_provider: { template: command, command: [bash] }"
  writeFileSync(join(world.home, "bottles", "sh.md"), `---\n${provider}\n---\n`, { mode: 0o600 })
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})

test("Docker is the first, and an agent that ran on it is not moved quietly when its engine is gone", async () => {
  const first = await world.start("echo ran")
  expect(first).toMatchObject({ code: 0, stdout: "ran\n" })
  expect(first.stderr).toMatch(/backend +docker \(first available; Docker /)
  const refused = await world.start("echo ran", { env: NO_DOCKER })
  expect(refused).toMatchObject({ code: 1, stdout: "" })
  expect(refused.stderr).toContain("sh would be isolated less than last time")
  expect(refused.stderr).toContain("It ran on docker last, and now there is only bubblewrap")
  expect(refused.stderr).toMatch(/docker: .*nonexistent/)
  expect(refused.stderr).toContain("Start Docker")
  expect(refused.stderr).toContain("Or agree to it: --backend bubblewrap")
  const agreed = await world.start("echo ran", { env: NO_DOCKER, args: ["--backend", "bubblewrap"] })
  expect(agreed).toMatchObject({ code: 0, stdout: "ran\n" })
  expect(agreed.stderr).toContain("isolates less than docker, which sh ran on last")
  // Better than last time is no question.
  const back = await world.start("echo ran")
  expect(back).toMatchObject({ code: 0, stdout: "ran\n" })
  expect(back.stderr).toMatch(/backend +docker \(first available; Docker /)
})
