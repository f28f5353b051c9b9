/** Lists and cleanups where Docker is in the way, or has more than bottles; the rest is in test/contract. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import {
  homeDigest,
  LABEL_HOME,
  LABEL_IDENTITY,
  LABEL_ROLE,
  namesOf,
} from "../../src/backend/docker/names.ts"
import { createScripted, NOTHING, type Remains, type Scripted, STAY } from "./scripted.ts"

let scripted: Scripted
let other: Scripted
beforeAll(async () => {
  ;[scripted, other] = await Promise.all([createScripted(), createScripted()])
}, 600_000)
afterAll(async () => {
  await Promise.all([scripted?.[Symbol.asyncDispose](), other?.[Symbol.asyncDispose]()])
})
afterEach(async () => {
  await Promise.all([scripted.discardAll(), other.discardAll()])
})

const left = async (): Promise<Remains> => ({ ...(await scripted.remains()), networks: [] })

/** A folder for PATH with a `docker` that runs a shell line first; "$real" is the real one. */
function fakeDocker(name: string, line: string): string {
  const folder = join(scripted.world.cwd, name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "docker"), `#!/bin/sh\nreal=${Bun.which("docker")}\n${line}\n`)
  chmodSync(join(folder, "docker"), 0o755)
  return `${folder}:${scripted.world.env.PATH}`
}

describe("list active", () => {
  test("shows each bottle in four fields, and marks those that are not whole", async () => {
    const runs = await scripted.detached(STAY)
    const ended = await scripted.detached("exit 0")
    const broken = await scripted.detached(STAY)
    await scripted.ended(ended)
    await scripted.world.docker("kill", namesOf(broken).sidecars)
    const lines = (await scripted.world.ok("list", "active")).split("\n")
    expect(lines).toEqual([
      `docker\t${runs}\tscripted\tagent,egress`,
      `docker\t${ended}\tscripted\t\tended`,
      `docker\t${broken}\tscripted\tagent\tbroken`,
    ])
    const data = JSON.parse(await scripted.world.ok("list", "active", "--format", "json"))
    expect(data).toHaveLength(3)
    expect(data[0]).toMatchObject({
      backend: "docker",
      identity: runs,
      agent: "scripted",
      services: ["agent", "egress"],
      status: "running",
    })
    for (const { started_at } of data) {
      expect(new Date(started_at).toISOString()).toBe(started_at)
      expect(Math.abs(Date.now() - Date.parse(started_at))).toBeLessThan(300_000)
    }
  })

  test("skips a Docker that hangs, within seconds and by name", async () => {
    await scripted.detached(STAY)
    const PATH = fakeDocker("hangs", "exec sleep 600")
    const from = performance.now()
    const result = await scripted.bottleWith({ PATH }, "list", "active")
    expect(performance.now() - from).toBeLessThan(10_000)
    expect(result.stdout).toBe("")
    expect(result.stderr).toContain("docker")
    expect(result.code).toBe(0)
  })

  test("skips a Docker that is not there, by name where it had a bottle", async () => {
    const ways = [{ PATH: "/nonexistent" }, { DOCKER_HOST: "unix:///nonexistent.sock" }]
    for (const env of ways) {
      const nothing = await scripted.bottleWith(env, "list", "active")
      expect(nothing).toMatchObject({ code: 0, stdout: "", stderr: "No bottles.\n" })
    }
    await scripted.detached(STAY)
    for (const env of ways) {
      const { code, stdout, stderr } = await scripted.bottleWith(env, "list", "active")
      expect({ code, stdout }).toEqual({ code: 0, stdout: "" })
      expect(stderr).toContain("skipped docker:")
    }
  })
})

describe("cleanup", () => {
  test("keeps the logs of both containers and the ledger with what it keeps", async () => {
    const identity = await scripted.detached("echo the-agent-said-this; exit 3")
    await scripted.ended(identity)
    await scripted.world.ok("cleanup", "--yes")
    const folder = join(scripted.world.home, "state", identity)
    expect(await Bun.file(join(folder, "log", "agent.log")).text()).toContain("the-agent-said-this")
    expect(await Bun.file(join(folder, "log", "sidecars.log")).text()).toMatch(
      /loaded \d+ routes, generation 1/,
    )
    expect(await scripted.world.ok("log", identity)).toContain("agent-exit")
    expect((await scripted.world.bottle("log", identity, "--verify")).code).toBe(0)
  })

  test("finds volumes and containers that no state accounts for", async () => {
    const { world } = scripted
    const labels = (identity: string, home: string) => [
      ...["--label", `${LABEL_HOME}=${homeDigest(home)}`],
      ...["--label", `${LABEL_IDENTITY}=${identity}`, "--label", `${LABEL_ROLE}=home`],
    ]
    await world.docker("volume", "create", ...labels("lost-aaaaa", world.home), "bottle-lost-aaaaa-home")
    await world.docker(
      "volume",
      "create",
      ...labels("lost-bbbbb", other.world.home),
      "bottle-lost-bbbbb-home",
    )
    const cleaned = await world.bottle("cleanup", "--yes")
    expect(cleaned.stderr).toContain("lost-aaaaa")
    expect(cleaned.code).toBe(0)
    expect(await left()).toEqual(NOTHING)
    expect((await other.remains()).volumes).toEqual(["bottle-lost-bbbbb-home"])
  })

  test("goes on after a removal that fails, names it, and leaves with 1", async () => {
    const ended = [await scripted.detached("exit 0"), await scripted.detached("exit 0")].sort()
    for (const identity of ended) await scripted.ended(identity)
    const [first = "", second = ""] = ended
    const PATH = fakeDocker(
      "fails",
      `case "$*" in "rm "*${first}*|"volume rm "*${first}*) echo "removal refused" >&2; exit 1;; esac; exec $real "$@"`,
    )
    const cleaned = await scripted.bottleWith({ PATH }, "cleanup", "--yes")
    expect(cleaned.code).toBe(1)
    expect(cleaned.stderr).toMatch(new RegExp(`failed ${first}: .*\\n`))
    expect(cleaned.stderr).toContain("removal refused")
    expect(cleaned.stderr).toContain(`removed ${second}`)
    expect((await left()).state).toEqual([first])
    // Nothing stood in the way of the next one.
    expect((await scripted.world.bottle("cleanup", "--yes")).code).toBe(0)
    expect(await left()).toEqual(NOTHING)
  })

  test("counts every bottle as running when Docker cannot be asked, says so, and leaves with 1", async () => {
    const identity = await scripted.detached("exit 0")
    await scripted.ended(identity)
    const before = await left()
    const PATH = fakeDocker("hangs", "exec sleep 600")
    const from = performance.now()
    const hung = await scripted.bottleWith({ PATH }, "cleanup", "--yes")
    expect(performance.now() - from).toBeLessThan(30_000)
    expect(hung.code).toBe(1)
    expect(hung.stderr).toContain("docker")
    expect(await left()).toEqual(before)
    const gone = await scripted.bottleWith({ DOCKER_HOST: "unix:///nonexistent.sock" }, "cleanup", "--yes")
    expect(gone.code).toBe(1)
    expect(await left()).toEqual(before)
  })

  test("removes the home's network when no bottle is left on it, and only then", async () => {
    const identity = await scripted.detached(STAY)
    expect((await scripted.remains()).networks).toHaveLength(1)
    await scripted.world.bottle("cleanup", "--yes")
    expect((await scripted.remains()).networks).toHaveLength(1)
    await scripted.world.ok("stop", identity)
    await scripted.world.ok("cleanup", "--yes")
    expect((await scripted.remains()).networks).toEqual([])
    expect(existsSync(join(scripted.world.home, "bottles"))).toBe(true)
  })
})
