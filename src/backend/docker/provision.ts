/**
 * Folders go in as tar streams through `docker cp -` into the created container: owner and mode are kept, nothing
 * touches the host's disk on the way, and neither content nor names appear on a command line of ours.
 */

import { createReadStream } from "node:fs"
import { lstat, opendir, readFile, readlink } from "node:fs/promises"
import { dirname, join, posix } from "node:path"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { type Header, type Pack, pack } from "tar-stream"
import { AGENT_GID, AGENT_HOME, AGENT_UID, WORKSPACE } from "../../policy/paths.ts"
import type { ProvisionTree } from "../../provider/types.ts"
import { BottleError } from "../../runtime/error.ts"
import { docker } from "./docker.ts"

const OWNER = { uid: AGENT_UID, gid: AGENT_GID, uname: "", gname: "" }

/** Copies folders into the agent's home. Throws when a path lies outside of it. */
export async function copyTrees(
  container: string,
  trees: readonly ProvisionTree[],
  signal: AbortSignal,
): Promise<void> {
  const folders = new Set<string>()
  await copyIn(container, AGENT_HOME, "copy the agent's folders", signal, async (tar) => {
    for (const tree of trees) {
      const name = insideHome(tree.to)
      await addParents(tar, name, folders)
      await addTree(tar, tree.from, name)
    }
  })
}

/** Copies a host folder, `.git` included, to the workspace. */
export async function copyWorkspace(container: string, from: string, signal: AbortSignal): Promise<void> {
  await copyIn(container, WORKSPACE, `copy ${from}`, signal, (tar) => addTree(tar, from, "."))
}

async function copyIn(
  container: string,
  to: string,
  doing: string,
  signal: AbortSignal,
  fill: (tar: Pack) => Promise<void>,
): Promise<void> {
  const tar = pack()
  // Without `-a` the owner stays the one that the stream names; with it Docker puts its own idea there.
  const copied = docker(doing, ["cp", "-", `${container}:${to}`], {
    input: Readable.from(tar),
    signal,
    timeoutMs: 3_600_000,
  })
  const filled = fill(tar).then(
    () => tar.finalize(),
    (error: Error) => {
      tar.destroy(error)
      throw readFault(doing, error)
    },
  )
  await Promise.all([filled, copied])
}

/** What cannot be read is the folder's matter and not a fault of ours: the system's own words name the place. */
function readFault(doing: string, error: Error): Error {
  if (error instanceof BottleError || (error as NodeJS.ErrnoException).code === undefined) return error
  return new BottleError({
    what: `Could not ${doing}`,
    why: error.message,
    next: "See that all of the folder can be read and nothing changes it meanwhile, then start again",
    cause: error,
  })
}

function insideHome(path: string): string {
  const name = posix.relative(AGENT_HOME, path)
  if (name === "" || name.startsWith("..")) throw new Error(`${path} is not inside ${AGENT_HOME}`)
  return name
}

async function addParents(tar: Pack, name: string, done: Set<string>): Promise<void> {
  const parent = dirname(name)
  if (parent === "." || done.has(parent)) return
  await addParents(tar, parent, done)
  done.add(parent)
  await addEntry(tar, { name: parent, mode: 0o755, type: "directory" })
}

/** Adds folders, files and symbolic links as such; sockets, pipes and devices have no place in a copy. */
async function addTree(tar: Pack, from: string, to: string): Promise<void> {
  const stats = await lstat(from)
  const header = { name: to, mode: stats.mode & 0o7777, mtime: stats.mtime }
  if (stats.isSymbolicLink()) {
    await addEntry(tar, { ...header, type: "symlink", linkname: await readlink(from) })
    return
  }
  if (stats.isFile()) {
    await addFile(tar, from, { ...header, mode: stats.mode & 0o777, type: "file", size: stats.size })
    return
  }
  if (!stats.isDirectory()) return
  if (to !== ".") await addEntry(tar, { ...header, type: "directory" })
  for await (const entry of await opendir(from)) {
    await addTree(tar, join(from, entry.name), to === "." ? entry.name : `${to}/${entry.name}`)
  }
}

/** Files up to this size are read at once; larger ones are streamed, in bytes. */
const READ_AT_ONCE = 1024 * 1024

async function addFile(
  tar: Pack,
  from: string,
  header: Partial<Header> & { name: string } & { size: number },
): Promise<void> {
  if (header.size <= READ_AT_ONCE) {
    const content = await readFile(from)
    await addEntry(tar, { ...header, size: content.length }, content)
    return
  }
  // The size is promised before the content is read: a file that shrinks meanwhile cannot be copied whole.
  const entry = tar.entry({ ...header, ...OWNER })
  try {
    await pipeline(
      createReadStream(from, { end: header.size - 1 }),
      entry as unknown as NodeJS.WritableStream,
    )
  } catch (error) {
    throw new BottleError({
      what: `Could not copy ${from}`,
      why: error instanceof Error ? error.message : String(error),
      next: "If something writes to it, wait until that is done, then start again",
    })
  }
}

function addEntry(
  tar: Pack,
  header: Partial<Header> & { name: string },
  content?: string | Buffer,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error | null) => (error ? reject(error) : resolve())
    if (content === undefined) tar.entry({ ...header, ...OWNER }, settle)
    else tar.entry({ ...header, ...OWNER }, content as string, settle)
  })
}
