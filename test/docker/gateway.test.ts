/** A gateway whose parts die: daemons come back by themselves, a gateway that restarted as a whole refuses until loaded. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
import { namesOf } from "../../src/backend/docker/names.ts"
import { run } from "../../src/runtime/spawn.ts"
import { createScripted, type Scripted, STAY } from "./scripted.ts"

let scripted: Scripted
beforeAll(async () => {
  scripted = await createScripted()
  const { world } = scripted
  world.bottleFile(
    "calling",
    [
      "extends: [scripted]",
      "egress:",
      "  routes:",
      "    - host: api.anthropic.com",
      `      private: ["${world.hostAddress}/32"]`,
    ].join("\n"),
  )
  world.agentFile("scripted", "bottle: calling")
})
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

/** An authenticated call from inside, by the way that every client goes. Answers with its status and body. */
function call(identity: string, ...options: string[]): Promise<string> {
  const line = [
    "curl --silent --show-error --proxy http://127.0.0.1:9099 --cacert /run/bottle/sock/init/ca-bundle.pem",
    "--header 'authorization: Bearer placeholder' --write-out ' %{http_code}'",
    ...options,
    "https://api.anthropic.com/api/claude_code/settings",
  ]
  return scripted.inside(identity, `${line.join(" ")} 2>&1 || true`)
}

/** The process of egress as the host sees it. */
async function egressOf(identity: string): Promise<number> {
  const listed = await scripted.world.docker("top", namesOf(identity).sidecars, "-eo", "pid,uid")
  const pid = listed
    .split("\n")
    .find((line) => line.trim().endsWith(" 9099"))
    ?.trim()
    .split(/\s+/)[0]
  if (pid === undefined) throw new Error(`no egress in:\n${listed}`)
  return Number(pid)
}

async function ledger(identity: string): Promise<{ kind: string; data: Record<string, unknown> }[]> {
  const text = await scripted.world.ok("log", identity, "--format", "json")
  return text.split("\n").map((line) => JSON.parse(line))
}

test("kill -9 of egress in a detached bottle: the next authenticated call passes within 2 s, with no host process around", async () => {
  const identity = await scripted.detached(STAY)
  const { world } = scripted
  const requests = () => world.api.requests.filter(({ path }) => path === "/api/claude_code/settings")
  expect(await call(identity)).toEndWith(" 404")
  expect(requests().at(-1)?.headers.authorization).toBe(`Bearer ${world.token}`)
  const before = requests().length
  const killed = await egressOf(identity)

  // What is left of the 2 s after the kill is the call's own: curl tries again while nobody listens.
  process.kill(killed, "SIGKILL")
  const from = performance.now()
  const answer = await call(identity, "--retry 40 --retry-delay 0 --retry-all-errors --retry-max-time 2")
  expect(answer).toEndWith(" 404")
  expect(performance.now() - from).toBeLessThan(2000)
  expect(requests().length).toBe(before + 1)
  expect(requests().at(-1)?.headers.authorization).toBe(`Bearer ${world.token}`)
  expect(await egressOf(identity)).not.toBe(killed)

  const died = (await ledger(identity)).filter(({ kind }) => kind === "daemon-died")
  expect(died).toHaveLength(1)
  expect(died[0]?.data).toMatchObject({ daemon: "egress" })
  expect((await world.bottle("log", identity, "--verify")).code).toBe(0)
})

test("a gateway that restarted as a whole refuses everything with the command that loads it, and that command does", async () => {
  const identity = await scripted.detached(STAY)
  const { world } = scripted
  expect(await call(identity)).toEndWith(" 404")
  const before = world.api.requests.length
  await world.docker("restart", namesOf(identity).sidecars)
  const logs = await following(identity, "nothing is loaded")
  expect(logs).toContain(`bottle reload ${identity}`)
  // Without its authority the gateway cannot speak inside TLS: the status line of the proxy has the command.
  const refused = await call(identity, "--verbose")
  expect(refused).toMatch(/HTTP\/1\.1 503 .*/)
  expect(refused).toContain(`bottle reload ${identity}`)
  const plain = "curl --silent --proxy http://127.0.0.1:9099 http://bottle.internal/policy"
  expect(await scripted.inside(identity, plain)).toContain(`bottle reload ${identity}`)
  expect(world.api.requests.length).toBe(before)

  const reloaded = await scripted.bottleWith({ AGENT_SCRIPT: STAY }, "reload", identity)
  expect(reloaded.code).toBe(0)
  expect(await call(identity)).toEndWith(" 404")
  expect(world.api.requests.at(-1)?.headers.authorization).toBe(`Bearer ${world.token}`)
  // The agent lived on through all of it.
  expect(await world.ok("list", "active")).toBe(`docker\t${identity}\tscripted\tagent,egress`)
  expect((await world.bottle("log", identity, "--verify")).code).toBe(0)
})

/** Waits until the gateway's log has the text. */
async function following(identity: string, wanted: string): Promise<string> {
  const line = `docker logs --follow --since 1m ${namesOf(identity).sidecars} 2>&1 | grep --line-buffered -m 1 '${wanted}'`
  return (await run(["timeout", "30", "bash", "-c", line])).stdout
}

test("an agent without its gateway is listed as broken, reload brings the gateway back, and stop ends it", async () => {
  const identity = await scripted.detached(STAY)
  const { world } = scripted
  await world.docker("kill", namesOf(identity).sidecars)
  expect(await world.ok("list", "active")).toBe(`docker\t${identity}\tscripted\tagent\tbroken`)
  expect(await call(identity)).not.toEndWith(" 404")
  const cleaned = await world.bottle("cleanup", "--yes")
  expect(cleaned.stderr).not.toContain(identity)
  expect((await scripted.bottleWith({ AGENT_SCRIPT: STAY }, "reload", identity)).code).toBe(0)
  expect(await call(identity)).toEndWith(" 404")
  expect((await world.bottle("stop", identity)).code).toBe(0)
  expect(await world.ok("list", "active")).toBe("")
})

test("an agent that is killed takes its gateway with it: the tokens are forgotten and the daemons gone", async () => {
  const identity = await scripted.detached(STAY)
  const { world } = scripted
  await world.docker("kill", namesOf(identity).agent)
  await scripted.ended(identity)
  expect(await world.ok("list", "active")).toBe(`docker\t${identity}\tscripted\t\tended`)
  // How it ended was not seen, so its work is kept.
  const cleaned = await world.bottle("cleanup", "--yes")
  expect(cleaned.stderr).toContain(`bottle resume ${identity}`)
})
