/** `bottle exec` where Docker can end the gateway while the agent lives on. */
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

test("a command is refused while the gateway is dead, with the way back, and runs again behind it", async () => {
  const identity = await scripted.detached(STAY)
  const { world } = scripted
  expect(await world.ok("exec", identity, "--", "echo", "before")).toBe("before")
  await world.docker("kill", namesOf(identity).sidecars)
  const refused = await world.bottle("exec", identity, "--", "echo", "meanwhile")
  expect(refused).toMatchObject({ code: 1, stdout: "" })
  expect(refused.stderr).toContain(`${identity} cannot be reached`)
  expect(refused.stderr).toContain("its gateway does not run")
  expect(refused.stderr).toContain(`bottle reload ${identity}`)
  expect((await scripted.bottleWith({ AGENT_SCRIPT: STAY }, "reload", identity)).code).toBe(0)
  expect(await world.ok("exec", identity, "--", "echo", "after")).toBe("after")
})

test("a command whose gateway dies is told so, and does not outlive it", async () => {
  const identity = await scripted.detached(STAY)
  const { world } = scripted
  const command = Bun.spawn(
    [...world.command, "exec", identity, "--", "sh", "-c", "echo on; exec sleep 987654"],
    {
      cwd: world.cwd,
      env: world.env,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    },
  )
  const reader = command.stdout.getReader()
  await reader.read()
  await world.docker("kill", namesOf(identity).sidecars)
  expect(await command.exited).toBe(1)
  expect(await command.stderr.text()).toContain("The end of the command was not seen")
  const gone =
    "while cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q '[s]leep 987654'; do sleep 0.05; done"
  await scripted.inside(identity, gone)
})
