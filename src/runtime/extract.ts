/**
 * A sidecar's bundle as files on the disk, for backends that run it as a process of the host. It is code that we are
 * about to run, so what lies there from an earlier start is believed only when it is exactly what this program
 * carries. The path is synchronous where it is taken at every start: ten small files through Bun's thread pool cost
 * more than all of the work.
 */
import { createHash, randomBytes } from "node:crypto"
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs"
import { join } from "node:path"
import { sidecarBundle } from "./assets.ts"
import type { BundleFiles, SidecarName } from "./bundle.ts"
import { BottleError, reasonOf } from "./error.ts"
import { bottleCache, callerUid, hostEnv } from "./home.ts"
import { waitForLock } from "./lock-file.ts"

/** Folders kept per sidecar, the newest by use: going back to an earlier version of bottle stays quick */
const KEPT_FOLDERS = 4
/** Age of the last use, in milliseconds, below which a folder is never removed: a bottle may run from it */
const KEPT_AGE_MS = 30 * 24 * 60 * 60 * 1000
/** Milliseconds to wait for another process that writes the same folder, which takes it a few */
const WRITER_WAIT_MS = 10_000
/** For all to read: a role under a uid of its own is handed the folder by descriptor, and still has to enter it */
const FOLDER_MODE = 0o755
const FILE_MODE = 0o444
const FOLDER_NAME = /^[a-z]+-[0-9a-f]{64}$/

/**
 * The folder, absolute, that holds the files of a sidecar's bundle and nothing else; the entry is `<name>.js`. It is
 * named by its content and never changes; nobody but the user (and root) can write to it or reach it by path.
 * Throws a BottleError when the cache folder cannot be written, or is somebody else's.
 */
export async function extractSidecar(name: SidecarName): Promise<string> {
  const bundle = await sidecarBundle(name)
  const cache = join(bottleCache(hostEnv()), "sidecars")
  const folder = join(cache, `${name}-${contentHash(bundle)}`)
  try {
    // The parents first: whoever may write to one of them could exchange the folder after we have looked at it.
    ownFolder(join(cache, ".."))
    ownFolder(cache)
    if (!holdsExactly(folder, bundle)) {
      using _ = await waitForLock(join(cache, `.${name}.lock`), WRITER_WAIT_MS)
      // Under the lock nobody replaces a folder that another process has just made and is about to run.
      if (!holdsExactly(folder, bundle)) replaceFolder(folder, bundle)
      forgetOldFolders(cache, name, folder)
    }
    markUsed(folder)
    return folder
  } catch (error) {
    if (error instanceof BottleError) throw error
    throw new BottleError({
      what: `cannot lay out the ${name} program in ${folder}`,
      why: reasonOf(error),
      next: "Free some space there, or set XDG_CACHE_HOME to a folder of your own that can be written",
      cause: error,
    })
  }
}

function contentHash(bundle: BundleFiles): string {
  const hash = createHash("sha256")
  for (const file of Object.keys(bundle).sort()) {
    const content = Buffer.from(bundle[file]!)
    hash.update(`${file} ${content.length}\n`).update(content)
  }
  return hash.digest("hex")
}

/** Makes a folder that only we can change, or throws; a link to a folder of ours is the user's own choice. */
function ownFolder(path: string): void {
  let about = statSync(path, { throwIfNoEntry: false })
  if (about === undefined) {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    about = statSync(path)
  }
  if (about.uid !== callerUid()) {
    throw new BottleError({
      what: `${path} belongs to another user`,
      why: `its owner is uid ${about.uid}, you are uid ${callerUid()}, and programs are run from there`,
      next: "Remove or chown it, or set XDG_CACHE_HOME to a folder of your own (with sudo: `sudo -H`)",
    })
  }
  if ((about.mode & 0o022) !== 0) chmodSync(path, about.mode & 0o755)
}

/** Whether the folder is a real one of ours with these files, byte by byte, and nothing beside them. */
function holdsExactly(folder: string, bundle: BundleFiles): boolean {
  const about = lstatSync(folder, { throwIfNoEntry: false })
  if (about === undefined || !about.isDirectory() || !onlyOurs(about, FOLDER_MODE)) return false
  const names = readdirSync(folder)
  if (names.length !== Object.keys(bundle).length) return false
  return names.every((name) => Object.hasOwn(bundle, name) && holdsText(join(folder, name), bundle[name]!))
}

function holdsText(path: string, text: string): boolean {
  let file: number
  try {
    // O_NONBLOCK: a pipe of that name would hold us for ever.
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    return false
  }
  try {
    const about = fstatSync(file)
    const wanted = Buffer.from(text)
    if (!about.isFile() || !onlyOurs(about, FILE_MODE) || about.size !== wanted.length) return false
    // A second name for the file is a second way to it, past the mode of our folder.
    if (about.nlink !== 1) return false
    const found = Buffer.alloc(wanted.length)
    let length = 0
    while (length < found.length) {
      const read = readSync(file, found, length, found.length - length, length)
      if (read === 0) return false
      length += read
    }
    return found.equals(wanted)
  } finally {
    closeSync(file)
  }
}

function onlyOurs(about: { uid: number; mode: number }, mode: number): boolean {
  return about.uid === callerUid() && (about.mode & 0o7777) === mode
}

/** Puts a whole new folder in the place of whatever is there. */
function replaceFolder(folder: string, bundle: BundleFiles): void {
  const part = `${folder}.${randomBytes(6).toString("hex")}.part`
  try {
    mkdirSync(part, { mode: 0o700 })
    for (const [name, text] of Object.entries(bundle)) writeFile(join(part, name), text)
    chmodSync(part, FOLDER_MODE)
    // rename(2) replaces no folder that holds something, nor a file by a folder.
    if (lstatSync(folder, { throwIfNoEntry: false }) !== undefined) renameSync(folder, `${part}.old`)
    renameSync(part, folder)
  } finally {
    for (const left of [part, `${part}.old`]) rmSync(left, { recursive: true, force: true })
  }
}

function writeFile(path: string, text: string): void {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  const file = openSync(path, flags, 0o600)
  try {
    const content = Buffer.from(text)
    let length = 0
    while (length < content.length) length += writeSync(file, content, length)
    chmodSync(path, FILE_MODE)
  } finally {
    closeSync(file)
  }
}

function markUsed(folder: string): void {
  try {
    const now = new Date()
    utimesSync(folder, now, now)
  } catch {
    // The time only decides when the folder is forgotten.
  }
}

/** Removes what no version in use needs, and what a process that was killed here has left. */
function forgetOldFolders(cache: string, name: SidecarName, current: string): void {
  const found = readdirSync(cache)
    .filter((entry) => entry.startsWith(`${name}-`) && join(cache, entry) !== current)
    .map((entry) => ({ entry, at: lstatSync(join(cache, entry)).mtimeMs }))
    .sort((a, b) => b.at - a.at)
  const whole = found.filter(({ entry }) => FOLDER_NAME.test(entry))
  const aged = whole.slice(KEPT_FOLDERS - 1).filter(({ at }) => Date.now() - at > KEPT_AGE_MS)
  // Only the holder of the lock has parts, and we are it.
  const parts = found.filter(
    ({ entry }) => /\.part(\.old)?$/.test(entry) && FOLDER_NAME.test(entry.split(".")[0]!),
  )
  for (const { entry } of [...aged, ...parts]) rmSync(join(cache, entry), { recursive: true, force: true })
}
