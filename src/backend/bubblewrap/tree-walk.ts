/**
 * How whole trees are walked without trusting them: each folder by an open descriptor, so that nothing that is renamed
 * or replaced by a link meanwhile leads elsewhere, and no path grows past PATH_MAX.
 */
import { constants, lstatSync, openSync, readdirSync, type Stats } from "node:fs"
import { BottleError } from "../../runtime/error.ts"

/** A name in a folder; bytes where it is no valid UTF-8 */
export type EntryName = string | Buffer

/** Milliseconds of work before others get their turn: a copy may take minutes, and Ctrl-C must be heard. */
const TURN_MS = 10

/** Synchronous calls are far faster than promises for many small files; this shares the time they take. */
export class Turns {
  readonly #signal: AbortSignal | undefined
  readonly #doing: string
  #began = performance.now()

  constructor(doing: string, signal?: AbortSignal) {
    this.#signal = signal
    this.#doing = doing
    this.#check()
  }

  /** Whether it is time to `rest`. */
  get over(): boolean {
    return performance.now() - this.#began > TURN_MS
  }

  /** Lets everything else run. Throws when the work was called off. */
  async rest(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#check()
    this.#began = performance.now()
  }

  #check(): void {
    if (!this.#signal?.aborted) return
    if (this.#signal.reason instanceof BottleError) throw this.#signal.reason
    throw new BottleError({
      what: `interrupted while ${this.#doing}`,
      exitCode: 130,
      cause: this.#signal.reason,
    })
  }
}

/** Path of an entry of an open folder, whatever the folder is called by now. */
export function within(folder: number, name: EntryName): string | Buffer {
  const prefix = `/proc/self/fd/${folder}/`
  return typeof name === "string" ? prefix + name : Buffer.concat([Buffer.from(prefix), name])
}

/** A descriptor of a folder, never of what a symbolic link leads to. */
export function openFolder(path: string | Buffer): number {
  return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
}

export type EntryKind = "file" | "folder" | "symlink" | "other"

/** The entries of an open folder. The kind is what it was when it was listed. */
export function entriesOf(folder: number): { name: EntryName; kind: EntryKind }[] {
  const path = `/proc/self/fd/${folder}`
  const entries = readdirSync(path, { withFileTypes: true })
  // Bytes that are no UTF-8 come as U+FFFD, by which nothing can be opened.
  if (entries.some((entry) => entry.name.includes("\uFFFD"))) {
    return readdirSync(path, { encoding: "buffer" }).map((name) => ({
      name,
      kind: kindOf(lstatSync(within(folder, name))),
    }))
  }
  return entries.map((entry) => ({ name: entry.name, kind: kindOf(entry) }))
}

function kindOf(about: Pick<Stats, "isFile" | "isDirectory" | "isSymbolicLink">): EntryKind {
  if (about.isFile()) return "file"
  if (about.isDirectory()) return "folder"
  return about.isSymbolicLink() ? "symlink" : "other"
}

/** What an error says happened, as its code. */
export function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? ""
}
