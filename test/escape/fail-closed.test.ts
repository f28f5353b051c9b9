/** Parts of a running bottle die, hang or are cut off: nothing leaves, and credentials are forgotten. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { join } from "node:path"
import { namesOf } from "../../src/backend/docker/names.ts"
import { EGRESS_SOCKET, SOCKET_DIR } from "../../src/policy/paths.ts"
import { run } from "../../src/runtime/spawn.ts"
import { createWorld, type World } from "../docker/world.ts"
import { type Bottle, docker, type Ran, startBottle } from "./bottle.ts"

let world: World

beforeAll(async () => {
  world = await createWorld()
}, 600_000)

afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
}, 120_000)

/** Time that a part of a bottle has to notice that another is gone, in milliseconds. */
const NOTICED_WITHIN_MS = 15_000

const SETTINGS = "https://api.anthropic.com/api/claude_code/settings"

/** One request from inside; what reached the API by it. */
async function ask(bottle: Bottle): Promise<Ran & { arrived: number }> {
  const before = world.api.requests.length
  const ran = await bottle.run(["curl", "--silent", "--show-error", "--include", "--max-time", "4", SETTINGS])
  return { ...ran, arrived: world.api.requests.length - before }
}

/** curl has no answer: neither of the API nor of the gateway. */
const NOTHING = { stdout: "", arrived: 0 }

/** Waits for the end of a container; throws when it goes on living. */
async function ended(container: string): Promise<void> {
  await run(["docker", "wait", container], { timeoutMs: NOTICED_WITHIN_MS })
  expect((await docker("inspect", "--format", "{{.State.Running}}", container)).trim()).toBe("false")
}

/** Sends a signal to a process of the gateway, found by the part that it plays there. */
async function signal(bottle: Bottle, part: "init" | "egress", name: string): Promise<void> {
  const find = `for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q '^/opt/bottle/bun .*gateway.js ${part} $' && echo $p; done`
  const found = await docker("exec", bottle.gateway, "sh", "-c", `${find}; true`)
  const pid = /^\/proc\/(\d+)$/m.exec(found)?.[1]
  if (pid === undefined) throw new Error(`no process of ${part}: ${found}`)
  await docker("exec", bottle.gateway, "sh", "-c", `kill -${name} ${pid}`)
}

describe("nothing leaves", () => {
  test("while the gateway is frozen, and all goes on when it is not", async () => {
    await using bottle = await startBottle(world)
    expect(await ask(bottle)).toMatchObject({ code: 0, arrived: 1 })
    await docker("pause", bottle.gateway)
    const frozen = await ask(bottle)
    await docker("unpause", bottle.gateway)
    expect(frozen).toMatchObject({ ...NOTHING, code: 28 })
    expect(await ask(bottle)).toMatchObject({ code: 0, arrived: 1 })
  })

  test("while egress hangs, and all goes on when it does not", async () => {
    await using bottle = await startBottle(world)
    await signal(bottle, "egress", "STOP")
    const hung = await ask(bottle)
    await signal(bottle, "egress", "CONT")
    expect(hung).toMatchObject({ ...NOTHING, code: 28 })
    expect(await ask(bottle)).toMatchObject({ code: 0, arrived: 1 })
  })

  test("once the gateway has ended, and one that came back empty refuses in words", async () => {
    await using bottle = await startBottle(world)
    await docker("kill", bottle.gateway)
    const gone = await ask(bottle)
    expect(gone).toMatchObject(NOTHING)
    expect(gone.code).not.toBe(0)

    await docker("start", bottle.gateway)
    let empty = await ask(bottle)
    // Nobody listens until init gives up waiting for its host.
    for (const until = Date.now() + NOTICED_WITHIN_MS; empty.stdout === "" && Date.now() < until; )
      empty = await ask(bottle)
    expect(empty.arrived).toBe(0)
    expect(empty.stdout).toMatch(/^HTTP\/1\.1 \d+ egress:/)
    expect(empty.stdout).toContain(`bottle reload ${bottle.identity}`)
    await world.ok("reload", bottle.identity)
    expect(await ask(bottle)).toMatchObject({ code: 0, arrived: 1 })
  })

  test("through a daemon that was cut off from init, which ends with it", async () => {
    await using bottle = await startBottle(world)
    // Were egress to live on without init, what it does would be recorded by nobody.
    await signal(bottle, "init", "KILL")
    await ended(bottle.gateway)
    expect(await ask(bottle)).toMatchObject(NOTHING)
  })
})

describe("credentials are forgotten", () => {
  for (const [how, end] of [
    ["the sandbox is killed", (bottle: Bottle) => docker("kill", bottle.container)],
    [
      "the agent kills inner",
      (bottle: Bottle) => bottle.run(["pkill", "-KILL", "-f", "inner.js"]).catch(() => {}),
    ],
    ["the sandbox is removed", (bottle: Bottle) => docker("rm", "--force", bottle.container)],
  ] as const) {
    test(`when ${how}: the gateway ends by itself, and comes back empty`, async () => {
      await using bottle = await startBottle(world)
      expect(await ask(bottle)).toMatchObject({ code: 0, arrived: 1 })
      const { sock } = namesOf(bottle.identity).volumes
      await end(bottle)
      await ended(bottle.gateway)

      // Started once more it holds nothing that it could serve.
      await docker("start", bottle.gateway)
      const mountpoint = (await docker("volume", "inspect", "--format", "{{.Mountpoint}}", sock)).trim()
      const proxy = ["--unix-socket", join(mountpoint, EGRESS_SOCKET.slice(SOCKET_DIR.length))]
      const target = ["--request-target", SETTINGS, "http://api.anthropic.com/"]
      const before = world.api.requests.length
      let answer = ""
      for (const until = Date.now() + NOTICED_WITHIN_MS; answer === "" && Date.now() < until; )
        answer = (await run(["curl", "--silent", "--noproxy", "*", ...proxy, ...target])).stdout
      expect(answer).toContain("not-loaded")
      expect(world.api.requests.length).toBe(before)
    })
  }

  test("though none was ever on disk: neither Docker's records nor the bottle's hold one", async () => {
    await using bottle = await startBottle(world)
    expect(await ask(bottle)).toMatchObject({ code: 0, arrived: 1 })
    const { volumes } = namesOf(bottle.identity)
    const places = await Promise.all([
      docker("inspect", bottle.container, bottle.gateway),
      docker("logs", bottle.gateway),
      ...Object.values(volumes).map(async (volume) => {
        const path = (await docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume)).trim()
        return (await run(["grep", "--recursive", "--files-with-matches", world.token, path])).stdout
      }),
      run(["grep", "--recursive", "--files-with-matches", world.token, world.home]).then((ran) => ran.stdout),
    ])
    expect(places.filter((text) => text.includes(world.token))).toEqual([])
    expect(places.slice(2).join("")).toBe("")
    // The same search finds what is there.
    const found = await run(["grep", "--recursive", "--files-with-matches", bottle.identity, world.home])
    expect(found.stdout).not.toBe("")
  })
})
