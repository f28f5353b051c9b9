/** What a folder that a Dockerfile copies from looks like, cheaply: names, sizes, times and modes, not contents. */
import { createHash } from "node:crypto"
import { lstat, readdir } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { BottleError, reasonOf } from "../runtime/error.ts"

/** Entries that a build context may have; a larger one is a Dockerfile in the wrong folder, and slow at each start */
const MAX_ENTRIES = 20_000

/** Hash of the listing of the Dockerfile's folder, `.git` left out: it changes with every commit and fetch. */
export async function folderHash(dockerfile: string, max = MAX_ENTRIES): Promise<string> {
  const root = dirname(dockerfile)
  const lines: string[] = []
  const folders = [root]
  while (folders.length > 0) {
    const folder = folders.pop()!
    for (const name of await entriesOf(folder)) {
      if (name === ".git") continue
      const path = join(folder, name)
      const about = await lstat(path)
      if (about.isDirectory()) folders.push(path)
      const size = about.isFile() ? `${about.size} ${about.mtimeMs}` : ""
      lines.push(`${relative(root, path)} ${about.mode} ${size}`)
      if (lines.length > max) {
        throw new BottleError({
          what: `the folder of ${dockerfile} is too large for a build context`,
          why: `it has more than ${max} entries, and the Dockerfile copies from it`,
          next: "Put the Dockerfile into a folder of its own, with what it copies",
        })
      }
    }
  }
  return createHash("sha256").update(lines.sort().join("\n")).digest("hex")
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    throw new BottleError({
      what: `cannot read ${folder}, which the Dockerfile's folder holds`,
      why: reasonOf(error),
      next: "Put the Dockerfile into a folder of its own, with what it copies",
      cause: error,
    })
  }
}
