/** What a folder that a Dockerfile copies from holds: names, modes and contents, or size and time where it is much. */
import { createHash } from "node:crypto"
import { lstat, readdir, readFile, readlink } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { BottleError, reasonOf } from "../runtime/error.ts"

/** Entries that a build context may have; a larger one is a Dockerfile in the wrong folder, and slow at each start */
const MAX_ENTRIES = 20_000

/** Bytes of content that are read at each start; beyond them a file's size and time stand for its content */
const MAX_READ = 32 * 1024 * 1024

/** Hash of the listing of the Dockerfile's folder, `.git` left out: it changes with every commit and fetch. */
export async function folderHash(dockerfile: string, max = MAX_ENTRIES): Promise<string> {
  const root = dirname(dockerfile)
  const lines: string[] = []
  const folders = [root]
  let read = 0
  while (folders.length > 0) {
    const folder = folders.pop()!
    // In a fixed order, so that the same files are read and the same ones are not.
    for (const name of (await readable(folder, readdir(folder))).sort()) {
      if (name === ".git") continue
      const path = join(folder, name)
      const about = await lstat(path)
      if (about.isDirectory()) folders.push(path)
      let content = ""
      if (about.isSymbolicLink()) content = await readlink(path)
      else if (about.isFile()) {
        // A fresh checkout changes every time and nothing else: it must not cost a build.
        const small = read + about.size <= MAX_READ
        if (small) read += about.size
        content = small ? sha256(await readable(path, readFile(path))) : `${about.size} ${about.mtimeMs}`
      }
      lines.push(JSON.stringify([relative(root, path), about.mode, content]))
      if (lines.length > max) {
        throw new BottleError({
          what: `the folder of ${dockerfile} is too large for a build context`,
          why: `it has more than ${max} entries, and the Dockerfile copies from it`,
          next: "Put the Dockerfile into a folder of its own, with what it copies",
        })
      }
    }
  }
  return sha256(lines.sort().join("\n"))
}

function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex")
}

async function readable<T>(path: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading
  } catch (error) {
    throw new BottleError({
      what: `cannot read ${path}, which lies in the Dockerfile's folder`,
      why: reasonOf(error),
      next: "Put the Dockerfile into a folder of its own, with what it copies",
      cause: error,
    })
  }
}
