/** Files that are either the old one or the new one, whole, whatever happens in between. */
import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { link, open, rename, unlink } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { BottleError, reasonOf } from "./error.ts"

/** Name of a file on its way: `.<name>.<random>.part`; what crashed leaves one behind, and nothing reads it. */
function partOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.part`)
}

/** Whether a write waits until it would survive a power cut. Content of this boot alone need not. */
export type Survives = "power cut" | "this boot"

/** Writes the whole content to a new file of exactly that mode, whatever the umask. */
async function writeNew(
  path: string,
  content: string | Uint8Array,
  mode: number,
  survives: Survives,
): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  const file = await open(path, flags, mode)
  try {
    await file.chmod(mode)
    await file.writeFile(content)
    if (survives === "power cut") await file.sync()
  } finally {
    await file.close()
  }
}

/** Waits until the entries of a folder (creation, rename, removal) are on the disk. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Replaces a file by rename: readers see the old content or the new, never a part, also after a power cut. */
export function writeDurably(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  return replace(path, content, mode, "power cut")
}

/** The same for what means nothing after the next boot: it does not wait for the disk. */
export function writeForNow(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  return replace(path, content, mode, "this boot")
}

async function replace(
  path: string,
  content: string | Uint8Array,
  mode: number,
  survives: Survives,
): Promise<void> {
  const part = partOf(path)
  try {
    await writeNew(part, content, mode, survives)
    await rename(part, path)
    if (survives === "power cut") await syncFolder(dirname(path))
  } catch (error) {
    await unlink(part).catch(() => undefined)
    throw fileError(`Could not write ${path}`, error)
  }
}

/**
 * Creates a file with its whole content, unless there is one. Returns whether it was created. The name appears by
 * link(2), which refuses to replace, so that of two at once exactly one wins and nobody reads a part.
 */
export async function createDurably(
  path: string,
  content: string | Uint8Array,
  mode = 0o600,
  survives: Survives = "power cut",
): Promise<boolean> {
  const part = partOf(path)
  try {
    await writeNew(part, content, mode, survives)
    await link(part, path)
    if (survives === "power cut") await syncFolder(dirname(path))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false
    throw fileError(`Could not create ${path}`, error)
  } finally {
    await unlink(part).catch(() => undefined)
  }
}

/**
 * The content of a regular file of at most `max` bytes; undefined when there is none. A symbolic link, a device, a
 * pipe or a larger file is an error: none of them is what we wrote, and O_NONBLOCK keeps a pipe from holding us.
 */
export async function readBounded(path: string, max: number): Promise<Buffer | undefined> {
  let file: Awaited<ReturnType<typeof open>>
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === "ENOENT") return undefined
    if (code === "ELOOP") throw new Error(`${path} is a symbolic link`)
    throw error
  }
  try {
    const about = await file.stat()
    if (!about.isFile()) throw new Error(`${path} is not a regular file`)
    if (about.size > max) throw new Error(`${path} is larger than ${max} bytes`)
    const content = Buffer.alloc(max + 1)
    let length = 0
    while (length <= max) {
      const { bytesRead } = await file.read(content, length, content.length - length, length)
      if (bytesRead === 0) return content.subarray(0, length)
      length += bytesRead
    }
    throw new Error(`${path} is larger than ${max} bytes`)
  } finally {
    await file.close()
  }
}

/** What a failed file operation means to the person; errors that are explained already stay as they are. */
export function fileError(what: string, error: unknown): BottleError {
  if (error instanceof BottleError) return error
  const code = (error as NodeJS.ErrnoException).code ?? ""
  return new BottleError({ what, why: reasonOf(error), next: NEXT_STEPS[code] ?? "", cause: error })
}

const NEXT_STEPS: Record<string, string> = {
  ENOSPC: "The disk is full: free some space (`bottle cleanup` removes ended bottles), then try again",
  EDQUOT:
    "Your disk quota is used up: free some space (`bottle cleanup` removes ended bottles), then try again",
  EROFS: "The file system is read-only: set BOTTLE_HOME to a folder that can be written",
  EACCES: "Check who owns the folder and its mode, or set BOTTLE_HOME to a folder of your own",
  EPERM: "Check who owns the folder and its mode, or set BOTTLE_HOME to a folder of your own",
}
