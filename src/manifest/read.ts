/** Reads a manifest's file: only what its owner alone could have written, and never more than it may hold. */
import { createHash } from "node:crypto"
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from "node:fs"
import { dirname, sep } from "node:path"
import { BottleError, reasonOf } from "../runtime/error.ts"
import { callerUid } from "../runtime/home.ts"

/** Bytes of a manifest; a system prompt of this length already fills a model's context */
export const FILE_MAX = 256 * 1024

export interface ManifestText {
  text: string
  /** SHA-256 of the file's bytes, hex */
  hash: string
}

/** `home`: must belong to the user alone; `repo`: anyone's, but no link may lead out of its folder */
export type Origin = "home" | "repo"

/** Reads a manifest whole. Throws a BottleError that names the file. */
export function readManifest(path: string, origin: Origin): ManifestText {
  if (origin === "repo") refuseLinkOut(path)
  const bytes = readBytes(path, origin)
  return { text: decode(path, bytes), hash: hashOf(bytes) }
}

/** What a text would be as a file: for one that is being edited. */
export function manifestOf(text: string): ManifestText {
  return { text, hash: hashOf(Buffer.from(text)) }
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}

/** A folder of the user's manifests: whoever can write to it can add a bottle. */
export function checkHomeFolder(path: string): void {
  checkOwner(path, statSync(path))
}

function readBytes(path: string, origin: Origin): Buffer {
  let fd: number
  try {
    // A pipe in a file's place would hold us until somebody writes to it.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    throw new BottleError({
      what: `Cannot read ${path}`,
      why: reasonOf(error),
      next: "See that you may read it",
      cause: error,
    })
  }
  try {
    const about = fstatSync(fd)
    if (!about.isFile()) {
      throw new BottleError({
        what: `Cannot read ${path}`,
        why: "it is not a file",
        next: "Remove it, or put a file there",
      })
    }
    if (origin === "home") checkOwner(path, about)
    if (about.size > FILE_MAX) throw tooLarge(path, about.size)
    const content = Buffer.alloc(FILE_MAX + 1)
    let length = 0
    while (length <= FILE_MAX) {
      const read = readSync(fd, content, length, content.length - length, length)
      if (read === 0) return content.subarray(0, length)
      length += read
    }
    throw tooLarge(path, length)
  } finally {
    closeSync(fd)
  }
}

function tooLarge(path: string, size: number): BottleError {
  return new BottleError({
    what: `${path} is too large for a manifest`,
    why: `it has ${size} bytes, and a manifest has at most ${FILE_MAX} (${FILE_MAX / 1024} KiB)`,
    next: "Keep the policy and the prompt in it, and move the rest to files of the workspace",
  })
}

/** Write permission of the group or of all */
const OTHERS_WRITE = 0o022

function checkOwner(path: string, about: Stats): void {
  const fault = ownerFault(path, about, callerUid())
  if (fault !== undefined) throw fault
}

/** Why a file of these owner and mode is not the user's word; undefined when it is. */
export function ownerFault(
  path: string,
  about: { uid: number; mode: number },
  uid: number | undefined,
): BottleError | undefined {
  if (uid === undefined) return undefined
  // What root owns is as trustworthy as the system itself (sshd judges its own files the same way).
  if (about.uid !== uid && about.uid !== 0) {
    return new BottleError({
      what: `${path} belongs to another user`,
      why: `its owner is user ${about.uid}, who could change which credentials go where`,
      next: `Make it yours: sudo chown ${uid} ${shellWord(path)}`,
    })
  }
  if ((about.mode & OTHERS_WRITE) !== 0) {
    return new BottleError({
      what: `${path} can be changed by other users`,
      why: `its mode is ${(about.mode & 0o777).toString(8)}; who can write to it decides which credentials go where`,
      next: `Run: chmod go-w ${shellWord(path)}`,
    })
  }
  return undefined
}

/** A link in a repository could make us read any file of the user's as an agent, and show parts of it. */
function refuseLinkOut(path: string): void {
  let real: string
  let folder: string
  try {
    real = realpathSync(path)
    folder = realpathSync(dirname(path))
  } catch (error) {
    throw new BottleError({
      what: `Cannot read ${path}`,
      why: reasonOf(error),
      next: "Remove the broken link",
      cause: error,
    })
  }
  if (real.startsWith(folder + sep)) return
  throw new BottleError({
    what: `${path} is a link that leaves the repository's agents folder`,
    why: "what a repository ships must lie in the repository",
    next: "Replace the link by the file itself",
  })
}

function decode(path: string, bytes: Buffer): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
    if (!text.includes("\0")) return text
  } catch {
    // Told below, the same for both kinds of bytes that are no text.
  }
  throw new BottleError({
    what: `${path} is not a text file`,
    why: "it is not valid UTF-8",
    next: "Save it as UTF-8",
  })
}

/** A path as one word of a shell line. */
function shellWord(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
}
