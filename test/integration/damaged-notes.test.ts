/** What a power cut can leave of a bottle's small notes, which are not forced to the disk, costs no work. */
import { expect, test } from "bun:test"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Notes } from "../../sidecars/init/notes.ts"
import { bubblewrapBackend } from "../../src/backend/bubblewrap/backend.ts"
import { stateOf } from "../../src/bottle/state-folder.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const IDENTITY = "dev-abc12"
const DAMAGED: [string, string][] = [
  ["empty", ""],
  ["cut off", `{"at":17`],
  ["of another kind", `"soon"`],
]

test.each(DAMAGED)(
  "a note of the end that is %s tells of no end, and so the bottle is kept",
  async (_, text) => {
    using folder = temporaryFolder()
    const { gateway, ledger, log } = stateOf(folder.path, IDENTITY)
    mkdirSync(gateway, { recursive: true })
    const backend = bubblewrapBackend(folder.path)
    new Notes(gateway).exit({ code: 3, workspace: { verdict: "unchanged", detail: "" } })
    expect((await backend.collect(IDENTITY, { ledger, log })).exit?.code).toBe(3)
    writeFileSync(join(gateway, "exit.json"), text)
    expect(await backend.collect(IDENTITY, { ledger, log })).toEqual({})
  },
)

test.each(DAMAGED)(
  "a note of the first launch that is %s makes everything work of the agent's",
  (_, text) => {
    using folder = temporaryFolder()
    const notes = new Notes(folder.path)
    const first = notes.firstLaunch()
    expect(notes.firstLaunch()).toBe(first)
    writeFileSync(join(folder.path, "first-launch.json"), text)
    expect(notes.firstLaunch()).toBe(0)
  },
)
