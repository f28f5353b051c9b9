/**
 * What cleanup finds and what it never touches. The docker command is a script on PATH that answers with what the test
 * wrote down and notes what it is told to remove.
 */
import { afterEach, beforeEach, expect, test } from "bun:test"
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { homeDigest } from "../../src/backend/docker/names.ts"
import type { Metadata } from "../../src/bottle/metadata.ts"
import { createState, preserve, writeMetadata } from "../../src/bottle/state.ts"
import { stateOf } from "../../src/bottle/state-folder.ts"
import { run } from "../../src/runtime/spawn.ts"
import { someMetadata } from "../fixtures/metadata.ts"
import { type TemporaryFolder, temporaryFolder } from "../fixtures/temporary-folder.ts"

const MAIN = join(import.meta.dir, "..", "..", "src", "main.ts")
const IDENTITY = "dev-abc12"

let folder: TemporaryFolder
let home: string
let said: string

beforeEach(() => {
  folder = temporaryFolder()
  home = join(folder.path, "home")
  said = join(folder.path, "docker")
  for (const path of [home, said, join(folder.path, "bin")]) mkdirSync(path, { mode: 0o700 })
  for (const name of ["containers", "states", "volumes", "told"]) writeFileSync(join(said, name), "")
  const docker = join(folder.path, "bin", "docker")
  writeFileSync(
    docker,
    `#!/bin/sh
cd ${said}
case "$*" in
  *State*) cat states ;;
  ps*) cat containers ;;
  "volume ls"*) cat volumes ;;
  rm*|"volume rm"*|"network rm"*) echo "$*" >>told ;;
  *) echo "no such object" >&2; exit 1 ;;
esac
`,
  )
  chmodSync(docker, 0o755)
})
afterEach(() => folder[Symbol.dispose]())

/** Docker has these containers of the bottle, in that state, and its volumes. */
function dockerHas(state: "running" | "exited" | undefined): void {
  const columns = `${IDENTITY}\t%\tworker\t2026-01-01T00:00:00.000Z\tegress\t${state}`
  if (state !== undefined) {
    const rows = ["agent", "sidecars"]
    writeFileSync(join(said, "states"), rows.map((role) => `${columns.replace("%", role)}\n`).join(""))
    writeFileSync(join(said, "containers"), rows.map((role) => `${IDENTITY}\t${role}\tc-${role}\n`).join(""))
  }
  const volumes = ["home", "workspace", "ledger"]
  writeFileSync(join(said, "volumes"), volumes.map((role) => `${IDENTITY}\t${role}\tv-${role}\n`).join(""))
}

async function bottleWith(phase: Metadata["phase"], kept: boolean): Promise<void> {
  using state = await createState(home, IDENTITY)
  await writeMetadata(state, { ...(await someMetadata(IDENTITY)), phase })
  if (kept) await preserve(state, "notes.txt is new or changed")
}

async function cleanup(): Promise<{ code: number; stderr: string; told: string }> {
  const env = { ...process.env, PATH: `${join(folder.path, "bin")}:${process.env.PATH}`, BOTTLE_HOME: home }
  const command = [process.execPath, "--no-env-file", MAIN, "cleanup", "--yes"]
  const { code, stderr } = await run(command, { cwd: folder.path, env: { ...env, NO_COLOR: "1" } })
  return { code, stderr, told: readFileSync(join(said, "told"), "utf8") }
}

test("volumes that no state speaks of are removed", async () => {
  dockerHas(undefined)
  const { code, stderr, told } = await cleanup()
  expect(code).toBe(0)
  expect(stderr).toContain(`removed ${IDENTITY}`)
  expect(told).toContain(`bottle-${IDENTITY}-workspace`)
})

test("the volumes of a state that cannot be read are left alone, and the state is named", async () => {
  await bottleWith("ended", true)
  dockerHas(undefined)
  const { metadata } = stateOf(home, IDENTITY)
  writeFileSync(metadata, readFileSync(metadata, "utf8").replace('"version": 1', '"version": 99'))
  const { stderr, told } = await cleanup()
  expect(told).not.toContain("rm --force bottle")
  expect(told).not.toContain("workspace")
  expect(stderr).toContain(`left alone ${IDENTITY}`)
})

test("what was kept is left alone", async () => {
  await bottleWith("ended", true)
  dockerHas(undefined)
  expect((await cleanup()).told).not.toContain("workspace")
  expect(existsSync(stateOf(home, IDENTITY).preserveMarker)).toBe(true)
})

test("the containers of a kept bottle are removed and its work stays, with the reason it was kept for", async () => {
  await bottleWith("ended", true)
  dockerHas("exited")
  const { code, stderr, told } = await cleanup()
  expect(code).toBe(0)
  expect(stderr).toContain("notes.txt is new or changed")
  expect(told).toContain(`rm --force bottle-${IDENTITY}-agent bottle-${IDENTITY}-sidecars`)
  expect(told).not.toContain("workspace")
})

test("a running bottle is left alone", async () => {
  await bottleWith("running", false)
  dockerHas("running")
  const { stderr, told } = await cleanup()
  expect(stderr).toContain("Nothing to clean up")
  expect(told).toBe("")
})

test("a resumed bottle whose start was cut short loses its containers and keeps its work", async () => {
  using state = await createState(home, IDENTITY)
  const metadata = await someMetadata(IDENTITY)
  // A process that is gone: nothing runs under this boot's name.
  const owner = { ...metadata.owner, boot_id: "another-boot" }
  await writeMetadata(state, { ...metadata, phase: "starting", owner })
  await preserve(state, "notes.txt is new or changed")
  state[Symbol.dispose]()
  dockerHas("running")
  const { told } = await cleanup()
  expect(told).toContain(`bottle-${IDENTITY}-agent`)
  expect(told).not.toContain("workspace")
})

test("the network of the gateways goes with the last bottle of its home, and not before", async () => {
  await bottleWith("running", false)
  dockerHas("running")
  const docker = join(folder.path, "bin", "docker")
  const script = readFileSync(docker, "utf8")
  writeFileSync(docker, script.replace("  *)", '  "network inspect"*) echo 0 ;;\n  *)'))
  expect((await cleanup()).told).toBe("")
  for (const name of ["states", "containers", "volumes"]) writeFileSync(join(said, name), "")
  expect((await cleanup()).told).toBe(`network rm bottle-outside-${homeDigest(home)}\n`)
})
