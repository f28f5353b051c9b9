/** How large a folder is, to tell before it is copied. */
import { closeSync, lstatSync } from "node:fs"
import { codeOf, entriesOf, openFolder, Turns, within } from "./tree-walk.ts"

/** From this size on a copy takes long enough to be told beforehand, in bytes */
export const LARGE_TREE_BYTES = 512 * 1024 * 1024
/** Time for the estimate, in milliseconds: it must not take longer than what it warns of */
const ESTIMATE_MS = 300

export interface TreeSize {
  /** Number of regular files */
  files: number
  /** Their sizes together, in bytes */
  bytes: number
  /** False when time ran out: then it is at least that much */
  complete: boolean
}

/** Adds up a folder without following links; what cannot be read is for the copy to complain about. */
export async function treeSize(from: string, signal: AbortSignal, withinMs = ESTIMATE_MS): Promise<TreeSize> {
  const size: TreeSize = { files: 0, bytes: 0, complete: true }
  const turns = new Turns(`the size of ${from} was taken`, signal)
  const until = performance.now() + withinMs
  const folders: (string | Buffer)[] = [from]
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    let folder: number
    try {
      folder = openFolder(next === from ? `${from}/` : next)
    } catch {
      continue
    }
    try {
      for (const { name, kind } of entriesOf(folder)) {
        if (kind === "folder") folders.push(Buffer.concat([Buffer.from(next), SLASH, Buffer.from(name)]))
        if (kind !== "file") continue
        const about = lstatSync(within(folder, name), { throwIfNoEntry: false })
        if (about === undefined) continue
        size.files += 1
        size.bytes += about.size
        if (!turns.over) continue
        if (performance.now() > until) return { ...size, complete: false }
        await turns.rest()
      }
    } catch (error) {
      if (codeOf(error) === "") throw error
    } finally {
      closeSync(folder)
    }
  }
  return size
}

const SLASH = Buffer.from("/")
