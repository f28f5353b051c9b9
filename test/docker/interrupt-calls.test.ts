/** A start that is interrupted, or killed, at each single thing that it asks of Docker and of its gateway. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { type StreamingProcess, spawnStreaming } from "../../src/runtime/spawn.ts"
import { type DockerProxy, startDockerProxy } from "./docker-proxy.ts"
import { createScripted, NOTHING, type Remains, type Scripted, STAY } from "./scripted.ts"

/** What a start does, one after the other: that many calls of that kind come before the signal. */
const MOMENTS: [string, string, number][] = [
  ["Docker is asked what it is", "GET .*/info", 1],
  ["the network is looked for", "GET .*/networks/", 1],
  ["the images are looked for", "GET .*/images/", 1],
  ["Compose begins", "GET .*/containers/json", 1],
  ["the first volume is made", "POST .*/volumes/create", 1],
  ["the last volume is made", "POST .*/volumes/create", 4],
  ["the first container is made", "POST .*/containers/create", 1],
  ["the second container is made", "POST .*/containers/create", 2],
  ["the gateway is joined", "POST .*-sidecars/attach", 1],
  ["the gateway is started", "POST .*-sidecars/start", 1],
  ["the gateway is loaded", '"op":"load"', 1],
  ["the folder is copied", "PUT .*-agent/archive", 1],
  ["the sandbox is started", "POST .*-agent/start", 1],
  ["the wall is tried", '"op":"probe"', 1],
  ["the agent is started", '"op":"launch"', 1],
]

const LAUNCH = MOMENTS.at(-1)!

let scripted: Scripted
let proxy: DockerProxy
beforeAll(async () => {
  scripted = await createScripted()
  await scripted.world.ok("stop", await scripted.detached(STAY))
  writeFileSync(join(scripted.world.cwd, "file"), "x")
  proxy = await startDockerProxy(join(scripted.world.home, "..", "docker.sock"))
}, 600_000)
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

/** Identity of the last start that was signalled, empty when it had not come to name it */
let identity = ""

/** What is left: by the home's label, and by its name, since Docker makes a volume that it misses without any label. */
async function left(): Promise<Remains> {
  const { containers, volumes, state } = await scripted.remains()
  const named =
    identity === "" ? "" : await scripted.world.docker("volume", "ls", "-qf", `name=bottle-${identity}-`)
  const all = new Set([...volumes, ...named.split("\n").filter(Boolean)])
  return { containers, volumes: [...all].sort(), networks: [], state }
}

/** Starts, and signals bottle just before that call reaches Docker. Answers with bottle's exit status. */
async function signalled(
  signal: NodeJS.Signals,
  [, call, count]: [string, string, number],
  then?: "drop",
  spawn: () => StreamingProcess = () =>
    scripted.spawn(STAY, { args: ["--detach", "--cwd"], env: { DOCKER_HOST: proxy.host } }),
): Promise<number> {
  let seen = 0
  identity = ""
  await using bottle = spawn()
  bottle.stdout.resume()
  bottle.stderr.resume()
  proxy.onCall = (made) => {
    identity = /bottle-(scripted-[0-9a-z]{5})-/.exec(made)?.[1] ?? identity
    if (!new RegExp(call).test(made)) return undefined
    seen += 1
    if (seen !== count) return undefined
    process.kill(bottle.pid, signal)
    return then
  }
  const status = await bottle.exited
  proxy.onCall = () => undefined
  // Programs that bottle had started outlive its kill for a moment, and do what they were told.
  await proxy.idle()
  expect(seen).toBeGreaterThanOrEqual(count)
  return status
}

describe("Ctrl-C leaves nothing", () => {
  for (const moment of MOMENTS) {
    test(`when ${moment[0]}`, async () => {
      expect(await signalled("SIGINT", moment)).toBe(130)
      expect(await left()).toEqual(NOTHING)
    })
  }
})

describe("a kill leaves what the next cleanup finds and removes", () => {
  for (const moment of MOMENTS.slice(0, -1)) {
    test(`when ${moment[0]}`, async () => {
      expect(await signalled("SIGKILL", moment)).toBe(137)
      const cleaned = await scripted.world.bottle("cleanup", "--yes")
      expect(cleaned.code).toBe(0)
      expect(await left()).toEqual(NOTHING)
    })
  }

  test("when the agent is about to start, and never does: its gateway ends it within half a minute", async () => {
    expect(await signalled("SIGKILL", LAUNCH, "drop")).toBe(137)
    expect((await scripted.world.ok("list", "active")).split("\t")[1]).toBe(identity)
    await scripted.ended(identity)
    expect((await scripted.world.bottle("cleanup", "--yes")).code).toBe(0)
    expect(await left()).toEqual(NOTHING)
  })

  test("when a kept bottle is resumed, but for its work", async () => {
    const first = await scripted.start("echo precious >/workspace/note", { args: ["--prompt", "x"] })
    const kept = /bottle resume (\S+)\n/.exec(first.stderr)?.[1] ?? "none"
    const { world } = scripted
    const env = { ...world.env, DOCKER_HOST: proxy.host, AGENT_SCRIPT: STAY }
    const resume = () => spawnStreaming([...world.command, "resume", kept, "--yes", "--detach"], { env })
    expect(await signalled("SIGKILL", LAUNCH, "drop", resume)).toBe(137)
    await scripted.ended(kept)
    const cleaned = await world.bottle("cleanup", "--yes")
    expect(cleaned.stderr).toContain(`bottle resume ${kept}`)
    expect((await left()).containers).toEqual([])
    const again = await scripted.bottleWith(
      { AGENT_SCRIPT: "cat note" },
      "resume",
      kept,
      "--yes",
      "--prompt",
      "x",
    )
    expect(again.stdout).toBe("precious\n")
  })

  test("but not an agent that had started: it runs, is listed, and can be stopped", async () => {
    expect(await signalled("SIGKILL", LAUNCH)).toBe(137)
    expect((await scripted.world.bottle("cleanup", "--yes")).code).toBe(0)
    expect((await scripted.world.ok("list", "active")).split("\t")[1]).toBe(identity)
    expect(await scripted.inside(identity, "cat /workspace/file")).toBe("x")
    await scripted.world.ok("stop", identity)
    expect(await left()).toEqual(NOTHING)
  })
})
