import { expect, test } from "bun:test"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { endKeeper, keeperOf } from "../../src/backend/bubblewrap/keeper.ts"
import { type Places, placesOf } from "../../src/backend/bubblewrap/places.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { describeOwner } from "../../src/runtime/process-owner.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

/** A bottle's places with that note of its keeper. */
function noted(note: unknown): { places: Places } & Disposable {
  const folder = temporaryFolder()
  const places = placesOf(folder.path, "dev-00000")
  mkdirSync(dirname(places.owner), { recursive: true })
  writeFileSync(places.owner, typeof note === "string" ? note : JSON.stringify(note))
  return { places, [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

/** A process that somebody else runs. */
async function bystander() {
  const child = spawn("sleep", ["infinity"], { stdio: "ignore" })
  const ended = once(child, "exit")
  await once(child, "spawn")
  return {
    child,
    owner: await describeOwner(child.pid ?? 0),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL")
      await ended
    },
  }
}

test("a keeper that runs is found by its note, and ended", async () => {
  await using other = await bystander()
  using at = noted(other.owner)
  expect(await keeperOf(at.places)).toEqual(other.owner)
  await endKeeper(at.places)
  expect(await keeperOf(at.places)).toBeUndefined()
})

test.each([
  ["empty, as a power cut leaves it", ""],
  ["cut off", '{"pid":12,"start_ti'],
  ["of no process", null],
])("a note that is %s names nobody", async (_, note) => {
  using at = noted(note)
  expect(await keeperOf(at.places)).toBeUndefined()
  await endKeeper(at.places)
})

test("a keeper of another container is not ended: its number is somebody else's here", async () => {
  await using other = await bystander()
  using at = noted({ ...other.owner, pid_namespace: "pid:[1]" })
  const refused = await endKeeper(at.places).catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(BottleError)
  expect((refused as BottleError).why).toContain("another container")
  expect([other.child.exitCode, other.child.signalCode]).toEqual([null, null])
})
