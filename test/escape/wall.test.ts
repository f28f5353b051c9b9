/**
 * A wall with a hole: Docker is told something else than bottle says, by a `docker` that comes first on PATH and
 * changes one line of the project on its way. The start must find out by itself, and leave nothing behind.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { homeDigest, LABEL_HOME } from "../../src/backend/docker/names.ts"
import { createWorld, type World } from "../docker/world.ts"
import { attackerBottle } from "./bottle.ts"
import { type Tampering, tamperingCompose } from "./tampering.ts"

let world: World

beforeAll(async () => {
  world = await createWorld()
  world.bottleFile("holed", attackerBottle(world))
  world.agentFile("holed", "bottle: holed")
}, 600_000)

afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
}, 120_000)

/** A hole in what is started with the world's environment. */
function tampering(from: string, to: string): Tampering {
  const hole = tamperingCompose(from, to)
  const before = world.env.DOCKER_CONFIG
  Object.assign(world.env, hole.env(""))
  return {
    ...hole,
    [Symbol.dispose]: () => {
      hole[Symbol.dispose]()
      if (before === undefined) delete world.env.DOCKER_CONFIG
      else world.env.DOCKER_CONFIG = before
    },
  }
}

/** What Docker and the state folder hold of this home. */
async function left(): Promise<string[]> {
  const mine = ["--quiet", "--filter", `label=${LABEL_HOME}=${homeDigest(world.home)}`]
  const listed = await Promise.all([
    world.docker("ps", "--all", ...mine),
    world.docker("volume", "ls", ...mine),
  ])
  const state = join(world.home, "state")
  const folders = existsSync(state) ? readdirSync(state).filter((name) => !name.startsWith(".")) : []
  return [...listed.flatMap((text) => text.split("\n")), ...folders].filter((line) => line !== "")
}

describe("a start", () => {
  test("goes through when Docker does as it is told", async () => {
    using unchanged = tampering("nothing like this", "")
    const identity = await world.ok("start", "holed", "--yes", "--detach")
    expect(existsSync(unchanged.log)).toBe(false)
    expect((await left()).length).toBeGreaterThan(0)
    await world.ok("stop", identity)
    expect(await left()).toEqual([])
  })

  for (const [hole, from, to, named] of [
    ["the sandbox is on a network", '"network_mode":"none"', '"network_mode":"bridge"', "network interfaces"],
    [
      "the sandbox is in the host's network",
      '"network_mode":"none"',
      '"network_mode":"host"',
      "tcp 192.0.2.1:443",
    ],
    ["the sandbox is on the gateways' network", '"network_mode":"none"', '"networks":["outside"]', "eth0"],
    ["the sandbox has Docker's capabilities", '"cap_drop":["ALL"]', '"cap_drop":[]', "CapBnd"],
    [
      "the sandbox's programs may become root",
      '"no-new-privileges:true"',
      '"no-new-privileges:false"',
      "NoNewPrivs",
    ],
    [
      "the sandbox's system calls are not filtered",
      '"no-new-privileges:true"',
      '"no-new-privileges:true","seccomp=unconfined"',
      "Seccomp",
    ],
    [
      "the gateway has no egress",
      '"BOTTLE_SIDECAR_DAEMONS":"egress"',
      '"BOTTLE_SIDECAR_DAEMONS":""',
      "gateway",
    ],
  ] as const) {
    test(`is refused when ${hole}, and everything is taken back`, async () => {
      using hidden = tampering(from, to)
      const result = await world.bottle("start", "holed", "--yes", "--detach")
      expect(existsSync(hidden.log)).toBe(true)
      expect(result.code).toBe(1)
      expect(result.stderr).toContain("The wall does not stand")
      expect(result.stderr).toContain(named)
      expect(result.stdout).toBe("")
      expect(await left()).toEqual([])
    })
  }
})
