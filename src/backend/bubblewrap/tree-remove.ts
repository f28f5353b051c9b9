/** Removes what a sandbox left behind, whatever its agent made of it. */
import { randomBytes } from "node:crypto"
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from "node:fs"
import { fileError } from "../../runtime/durable-file.ts"
import { codeOf, entriesOf, openFolder, Turns, within } from "./tree-walk.ts"

/**
 * Opens a folder without the right to read it or to search it, which is all that chmod(2) through /proc needs; numbers
 * of open(2) that Node does not name, the same on x64 and arm64.
 */
const O_PATH = 0o10000000

/**
 * Removes a tree; that there is none is fine. Links are removed and not followed. The folder that holds it must be one
 * that nobody else writes to. Throws a BottleError that names the tree.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    const about = lstatSync(path, { throwIfNoEntry: false })
    if (about === undefined) return
    if (!about.isDirectory()) return unlinkSync(path)
    const top = openUnlocked(path)
    try {
      await empty(top, new Turns(`${path} was removed`))
    } finally {
      closeSync(top)
    }
    rmdirSync(path)
  } catch (error) {
    throw fileError(`Could not remove ${path}`, error)
  }
}

/**
 * Folders are moved up to the top one before they are emptied: however deep an agent nested them, none is deeper than
 * two, and two descriptors are enough.
 */
async function empty(top: number, turns: Turns): Promise<void> {
  const folders: string[] = []
  // A name that the agent could not have given to a folder of its own.
  const stamp = randomBytes(12).toString("hex")
  let moved = 0
  const take = async (folder: number) => {
    for (const { name, kind } of entriesOf(folder)) {
      const path = within(folder, name)
      if (kind === "folder") {
        // The right to write to a folder is needed to move it elsewhere.
        closeSync(openUnlocked(path))
        const fresh = `.removed-${stamp}-${moved++}`
        renameSync(path, within(top, fresh))
        folders.push(fresh)
      } else {
        unlinkSync(path)
      }
      if (turns.over) await turns.rest()
    }
  }
  await take(top)
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const path = within(top, next)
    const folder = openFolder(path)
    try {
      await take(folder)
    } finally {
      closeSync(folder)
    }
    rmdirSync(path)
  }
}

/** A descriptor of a folder whose owner may do everything with it. */
function openUnlocked(path: string | Buffer): number {
  const handle = openSync(path, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    if ((fstatSync(handle).mode & 0o700) !== 0o700) {
      try {
        chmodSync(`/proc/self/fd/${handle}`, 0o700)
      } catch (error) {
        // Somebody else's: the opening tells whether it matters.
        if (codeOf(error) !== "EPERM") throw error
      }
    }
  } finally {
    closeSync(handle)
  }
  return openFolder(path)
}
