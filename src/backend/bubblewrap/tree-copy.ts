/**
 * A copy of a host folder for a sandbox to work in. Content is cloned where the file system can and copied elsewhere,
 * never linked: through a hard link the agent would write to the original.
 */
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs"
import { join } from "node:path"
import { fileError } from "../../runtime/durable-file.ts"
import { BottleError, reasonOf } from "../../runtime/error.ts"
import { codeOf, type EntryKind, type EntryName, entriesOf, openFolder, Turns, within } from "./tree-walk.ts"

export { removeTree } from "./tree-remove.ts"

export interface CopyOptions {
  /** Owner of everything in the copy; absent leaves it to whoever copies. Needs root unless it is the same. */
  uid?: number
  gid?: number
  /** Calls the copy off; what is there then stays */
  signal: AbortSignal
  /** Told from time to time, with the bytes copied so far */
  progress?(bytes: number): void
}

export interface CopyResult {
  /** Number of regular files */
  files: number
  /** Their sizes together, in bytes */
  bytes: number
  /** Paths, relative to the folder, of sockets, pipes and devices, which have no place in a copy */
  skipped: string[]
}

/** Bytes handled by one call */
const CHUNK = 1024 * 1024
/** Smaller files are read and written: a clone would take as many calls. In bytes. */
const CLONE_MIN = 64 * 1024
/** Parts of a sparse file that are zero are left out in units of this, in bytes */
const HOLE = 64 * 1024
/** Levels of folders; each keeps two descriptors open */
const DEPTH_MAX = 400

/**
 * Copies the folder `from` to `to`, which need not exist. Modes and times are kept, set-id bits are not. Throws a
 * BottleError that names what could not be read.
 */
export async function copyTree(from: string, to: string, options: CopyOptions): Promise<CopyResult> {
  return new TreeCopy(from, options).run(to)
}

class TreeCopy {
  readonly #from: string
  readonly #options: CopyOptions
  readonly #turns: Turns
  readonly #buffer = Buffer.allocUnsafe(CHUNK)
  readonly #result: CopyResult = { files: 0, bytes: 0, skipped: [] }
  #clones = true
  /** Device and inode of the copy itself, which may lie inside of what is copied */
  #target = ""

  constructor(from: string, options: CopyOptions) {
    this.#from = from
    this.#options = options
    this.#turns = new Turns(`${from} was copied`, options.signal)
  }

  async run(to: string): Promise<CopyResult> {
    // The folder may be named by a link; it is what is in it that is not followed.
    const source = this.#reading("", () => openSync(this.#from, constants.O_RDONLY | constants.O_DIRECTORY))
    try {
      const about = fstatSync(source)
      const target = this.#writing("", () => {
        mkdirSync(to, { recursive: true, mode: 0o700 })
        return openFolder(to)
      })
      try {
        this.#target = inodeOf(fstatSync(target))
        await this.#fill(source, target, "", 0)
        this.#writing("", () => this.#finish(target, about, about.mode & 0o1777))
      } finally {
        closeSync(target)
      }
    } finally {
      closeSync(source)
    }
    this.#options.progress?.(this.#result.bytes)
    return this.#result
  }

  async #fill(source: number, target: number, path: string, depth: number): Promise<void> {
    for (const { name, kind } of this.#reading(path, () => entriesOf(source))) {
      if (this.#turns.over) {
        this.#options.progress?.(this.#result.bytes)
        await this.#turns.rest()
      }
      await this.#entry(source, target, name, kind, path, depth)
    }
  }

  #entry(
    source: number,
    target: number,
    name: EntryName,
    kind: EntryKind,
    parent: string,
    depth: number,
  ): Promise<void> | undefined {
    const path = join(parent, name.toString())
    if (kind === "folder") return this.#folder(source, target, name, path, depth + 1)
    if (kind === "file") return this.#file(source, target, name, path)
    if (kind === "symlink") this.#symlink(source, target, name, path)
    else this.#result.skipped.push(path)
    return undefined
  }

  async #folder(source: number, target: number, name: EntryName, path: string, depth: number): Promise<void> {
    if (depth > DEPTH_MAX)
      throw this.#readFault(path, new Error(`more than ${DEPTH_MAX} folders in each other`))
    const inner = this.#opened(path, () => openFolder(within(source, name)))
    if (inner === undefined) return
    try {
      const about = fstatSync(inner)
      if (inodeOf(about) === this.#target) return
      const to = within(target, name)
      const copy = this.#writing(path, () => {
        mkdirSync(to, 0o700)
        return openFolder(to)
      })
      try {
        await this.#fill(inner, copy, path, depth)
        // Last: a folder without the right to write could not be filled, and filling it changes its time.
        this.#writing(path, () => this.#finish(copy, about, about.mode & 0o1777))
      } finally {
        closeSync(copy)
      }
    } finally {
      closeSync(inner)
    }
  }

  #symlink(source: number, target: number, name: EntryName, path: string): void {
    const from = within(source, name)
    const about = this.#reading(path, () => lstatSync(from, { throwIfNoEntry: false }))
    if (about === undefined) return
    const text = this.#reading(path, () => readlinkSync(from, { encoding: "buffer" }))
    this.#writing(path, () => {
      const to = within(target, name)
      symlinkSync(text, to)
      const { uid, gid } = this.#options
      if (uid !== undefined || gid !== undefined) lchownSync(to, uid ?? -1, gid ?? -1)
      lutimesSync(to, about.atimeMs / 1000, about.mtimeMs / 1000)
    })
  }

  /** A promise only for a large file: of small ones there are many, and each turn of the loop would cost. */
  #file(source: number, target: number, name: EntryName, path: string): Promise<void> | undefined {
    // O_NONBLOCK: a pipe that has taken the file's place must not hold us.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const from = this.#opened(path, () => openSync(within(source, name), flags))
    if (from === undefined) return undefined
    let later: Promise<void> | undefined
    try {
      const about = fstatSync(from)
      if (!about.isFile()) {
        this.#result.skipped.push(path)
        return undefined
      }
      const to = within(target, name)
      if (about.size > CHUNK) {
        later = this.#large(from, to, about, path).finally(() => closeSync(from))
        return later
      }
      const clone = about.size >= CLONE_MIN ? this.#clone(from, to) : undefined
      const copy = clone ?? this.#create(to, path)
      try {
        if (clone === undefined) this.#small(from, copy, about.size, path)
        this.#done(copy, about, path)
      } finally {
        closeSync(copy)
      }
      return undefined
    } finally {
      if (later === undefined) closeSync(from)
    }
  }

  #small(from: number, to: number, size: number, path: string): void {
    let length = 0
    while (length < size) {
      const got = this.#reading(path, () => readSync(from, this.#buffer, length, size - length, null))
      if (got === 0) break
      length += got
    }
    this.#writing(path, () => writeWhole(to, this.#buffer, length, null))
  }

  async #large(from: number, to: string | Buffer, about: Stats, path: string): Promise<void> {
    const clone = this.#clone(from, to)
    const copy = clone ?? this.#create(to, path)
    try {
      if (clone === undefined) await this.#chunks(from, copy, about, path)
      this.#done(copy, about, path)
    } finally {
      closeSync(copy)
    }
  }

  async #chunks(from: number, to: number, about: Stats, path: string): Promise<void> {
    const buffer = this.#buffer
    const sparse = about.blocks * 512 < about.size
    const before = this.#result.bytes
    let at = 0
    // What grows while it is read is copied up to the size that it had.
    while (at < about.size) {
      const wanted = Math.min(CHUNK, about.size - at)
      const got = this.#reading(path, () => readSync(from, buffer, 0, wanted, null))
      if (got === 0) break
      const start = at
      this.#writing(path, () => {
        if (sparse) writeWithHoles(to, buffer, got, start)
        else writeWhole(to, buffer, got, start)
      })
      at += got
      if (this.#turns.over) {
        this.#options.progress?.(before + at)
        await this.#turns.rest()
      }
    }
    // A hole at the end has no byte that would make the file that long.
    if (sparse) this.#writing(path, () => ftruncateSync(to, at))
  }

  #create(to: string | Buffer, path: string): number {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
    return this.#writing(path, () => openSync(to, flags, 0o600))
  }

  /** A descriptor of the clone; undefined where the file system makes none, and then nothing is there. */
  #clone(from: number, to: string | Buffer): number | undefined {
    if (!this.#clones) return undefined
    try {
      copyFileSync(`/proc/self/fd/${from}`, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL)
      chmodSync(to, 0o600)
      return openSync(to, constants.O_RDONLY | constants.O_NOFOLLOW)
    } catch {
      // Whatever it was: what also stops the ordinary copy is told from there.
      this.#clones = false
      try {
        unlinkSync(to)
      } catch (error) {
        if (codeOf(error) !== "ENOENT") throw error
      }
      return undefined
    }
  }

  #done(copy: number, about: Stats, path: string): void {
    this.#writing(path, () => this.#finish(copy, about, about.mode & 0o777))
    this.#result.files += 1
    this.#result.bytes += about.size
  }

  #finish(copy: number, about: Stats, mode: number): void {
    const { uid, gid } = this.#options
    if (uid !== undefined || gid !== undefined) fchownSync(copy, uid ?? -1, gid ?? -1)
    fchmodSync(copy, mode)
    futimesSync(copy, about.atimeMs / 1000, about.mtimeMs / 1000)
  }

  /** undefined when it is gone since it was listed: a copy made a moment later would not have it either. */
  #opened(path: string, open: () => number): number | undefined {
    try {
      return open()
    } catch (error) {
      const code = codeOf(error)
      if (code === "ENOENT") return undefined
      if (code === "ELOOP" || code === "ENOTDIR")
        throw this.#readFault(path, new Error("it changes meanwhile"))
      // A socket that has taken a file's place.
      if (code === "ENXIO") {
        this.#result.skipped.push(path)
        return undefined
      }
      throw this.#readFault(path, error)
    }
  }

  #reading<Result>(path: string, action: () => Result): Result {
    try {
      return action()
    } catch (error) {
      throw this.#readFault(path, error)
    }
  }

  #writing<Result>(path: string, action: () => Result): Result {
    try {
      return action()
    } catch (error) {
      throw fileError(`Could not write the copy of ${join(this.#from, path)}`, error)
    }
  }

  #readFault(path: string, error: unknown): BottleError {
    const why: Record<string, string> = { EACCES: "you may not read it", ENOENT: "there is no such folder" }
    return new BottleError({
      what: `Could not copy ${join(this.#from, path)}`,
      why: why[codeOf(error)] ?? reasonOf(error),
      next: "See that all of the folder can be read and nothing changes it meanwhile, then start again",
      cause: error,
    })
  }
}

function inodeOf(about: Stats): string {
  return `${about.dev}:${about.ino}`
}

function writeWhole(to: number, buffer: Buffer, length: number, position: number | null): void {
  let written = 0
  while (written < length) {
    const at = position === null ? null : position + written
    written += writeSync(to, buffer, written, length - written, at)
  }
}

const ZEROS = Buffer.alloc(HOLE)

function writeWithHoles(to: number, buffer: Buffer, length: number, position: number): void {
  for (let start = 0; start < length; start += HOLE) {
    const part = buffer.subarray(start, Math.min(start + HOLE, length))
    if (!part.equals(part.length === HOLE ? ZEROS : ZEROS.subarray(0, part.length))) {
      writeWhole(to, part, part.length, position + start)
    }
  }
}
