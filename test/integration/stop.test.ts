/** What stop says of a bottle that another command has in its hands. */
import { expect, test } from "bun:test"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { placesOf } from "../../src/backend/bubblewrap/places.ts"
import { createState, writeMetadata } from "../../src/bottle/state.ts"
import { currentOwner } from "../../src/runtime/process-owner.ts"
import { run } from "../../src/runtime/spawn.ts"
import { someMetadata } from "../fixtures/metadata.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const MAIN = join(import.meta.dir, "..", "..", "src", "main.ts")
const IDENTITY = "dev-abc12"

test("a bottle that is being started, and whose gateway does not listen yet, is not told to be stopped", async () => {
  using folder = temporaryFolder()
  const home = join(folder.path, "home")
  mkdirSync(home, { mode: 0o700 })
  // As long as it is held, this process is the one that starts it; and its keeper, which has no socket yet.
  using state = await createState(home, IDENTITY)
  await writeMetadata(state, await someMetadata(IDENTITY, { backend: "bubblewrap" }))
  const { sockets, owner, control } = placesOf(home, IDENTITY)
  for (const path of [sockets, dirname(control)]) mkdirSync(path, { recursive: true })
  writeFileSync(owner, JSON.stringify(await currentOwner()))
  const env = { ...process.env, BOTTLE_HOME: home, NO_COLOR: "1" }
  const { code, stderr } = await run([process.execPath, "--no-env-file", MAIN, "stop", IDENTITY], { env })
  expect(stderr).toContain(`${IDENTITY} was not stopped`)
  expect(stderr).not.toContain("Stopped")
  expect(code).toBe(1)
})
