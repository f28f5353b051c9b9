/** Forty bottles at once: each answers, each has two containers, all gateways share one network. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { homeDigest, LABEL_HOME, networkOf } from "../../src/backend/docker/names.ts"
import { createScripted, type Scripted, STAY } from "./scripted.ts"

const BOTTLES = 40
/** Starts at once: more than cores, so that they meet each other, and few enough to end in time */
const AT_ONCE = 4

let scripted: Scripted

beforeAll(async () => {
  scripted = await createScripted()
  await scripted.world.ok("stop", await scripted.detached(STAY))
}, 600_000)
afterAll(async () => {
  await scripted?.discardAll()
  await scripted?.[Symbol.asyncDispose]()
}, 600_000)

test(`${BOTTLES} bottles run at once, and each gateway answers its own sandbox`, async () => {
  const { world } = scripted
  const identities = await inParallel(BOTTLES, () => scripted.detached(STAY))
  expect(new Set(identities).size).toBe(BOTTLES)

  const active = (await world.ok("list", "active")).split("\n").map((line) => line.split("\t"))
  expect(active.map(([, identity]) => identity).sort()).toEqual(identities.toSorted())
  expect(
    active.every(
      ([backend, , agent, services]) => `${backend} ${agent} ${services}` === "docker scripted agent,egress",
    ),
  ).toBe(true)

  const digest = homeDigest(world.home)
  const containers = await world.docker("ps", "--quiet", "--filter", `label=${LABEL_HOME}=${digest}`)
  expect(containers.split("\n").length).toBe(2 * BOTTLES)
  const onNetwork = await world.docker(
    "network",
    "inspect",
    networkOf(digest),
    "--format",
    "{{len .Containers}}",
  )
  expect(Number(onNetwork)).toBe(BOTTLES)

  for (const identity of identities) {
    const policy = await scripted.inside(
      identity,
      "curl -s -x http://127.0.0.1:9099 http://bottle.internal/policy",
    )
    expect(JSON.parse(policy).identity).toBe(identity)
  }

  const left = [...identities]
  await inParallel(BOTTLES, () => world.ok("stop", left.pop() ?? ""))
  expect(await world.ok("list", "active")).toBe("")
  expect((await scripted.remains()).volumes).toEqual([])
})

/** Runs that many, a few at once. */
async function inParallel<T>(count: number, work: () => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let begun = 0
  const lane = async () => {
    while (begun < count) {
      begun += 1
      results.push(await work())
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return results
}
