/**
 * The ledger's files: `ledger-000001.jsonl` and so on, one entry a line, the chain running through all of them. init
 * is the only writer. A write that fails is thrown: whoever cannot append must stop traffic.
 */
import {
  closeSync,
  fdatasync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeSync,
} from "node:fs"
import { join } from "node:path"
import {
  chain,
  EMPTY_HEAD,
  type LedgerEntry,
  type LedgerEvent,
  type LedgerHead,
  ledgerEntry,
} from "../../src/policy/ledger.ts"

/** Size at which a new file is begun, in bytes: small enough to read one whole into memory. */
const SEGMENT_MAX = 8 * 1024 * 1024
/** All files together, in bytes: a month of a busy agent. A full ledger stops the bottle rather than forget. */
const QUOTA = 512 * 1024 * 1024
/** Delay until written entries are forced to the disk, in milliseconds. */
const SYNC_AFTER_MS = 1000
/** Last entries that are kept in memory: whoever follows the ledger reads these instead of a file for each one. */
const RECENT_MAX = 512

const SEGMENT_NAME = /^ledger-(\d{6})\.jsonl$/

export class LedgerFull extends Error {
  constructor() {
    super(`the ledger has reached its quota of ${QUOTA / 1024 / 1024} MiB`)
  }
}

export class LedgerWriter implements Disposable {
  readonly #dir: string
  #fd: number
  #segment: number
  /** Bytes in the file that is written now */
  #size: number
  /** Bytes in the files before it */
  #before: number
  #head: LedgerHead
  /** The last entries, the head among them; empty at start */
  #recent: LedgerEntry[] = []
  #sync: NodeJS.Timeout | undefined

  /** Opens the ledger in `dir` and takes up its chain; a line that a power cut tore off at its end is removed. */
  constructor(dir: string) {
    this.#dir = dir
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    const numbers = segments(dir)
    this.#segment = numbers.at(-1) ?? 1
    this.#before = numbers.slice(0, -1).reduce((sum, n) => sum + statSync(segmentPath(dir, n)).size, 0)
    this.#fd = openSync(segmentPath(dir, this.#segment), "a", 0o600)
    this.#size = wholeLines(segmentPath(dir, this.#segment))
    ftruncateSync(this.#fd, this.#size)
    this.#head = EMPTY_HEAD
    for (const n of numbers.slice(-2)) this.#head = readSegment(dir, n).at(-1) ?? this.#head
  }

  get head(): LedgerHead {
    return { seq: this.#head.seq, hash: this.#head.hash }
  }

  /** Appends one event. Returns the entry; throws when it could not be written whole. */
  append(event: LedgerEvent, at = new Date()): LedgerEntry {
    const entry = chain(this.#head, event, at)
    const line = Buffer.from(`${JSON.stringify(entry)}\n`)
    if (this.#before + this.#size + line.length > QUOTA) throw new LedgerFull()
    if (this.#size + line.length > SEGMENT_MAX) this.#next()
    const end = this.#size
    try {
      const written = writeSync(this.#fd, line)
      if (written !== line.length) throw new Error(`the disk took ${written} of ${line.length} bytes`)
    } catch (error) {
      // A part of a line would swallow the next one and so break the chain for every reader.
      ftruncateSync(this.#fd, end)
      throw error
    }
    this.#size += line.length
    this.#head = entry
    this.#recent.push(entry)
    if (this.#recent.length > 2 * RECENT_MAX) this.#recent = this.#recent.slice(-RECENT_MAX)
    this.#sync ??= setTimeout(() => {
      this.#sync = undefined
      fdatasync(this.#fd, () => {})
    }, SYNC_AFTER_MS)
    return entry
  }

  /** Entries after number `after`, in batches of one file at most. */
  *read(after: number): Generator<LedgerEntry[]> {
    if (after >= this.#head.seq) return
    const oldest = this.#recent[0]
    if (oldest !== undefined && oldest.seq <= after + 1) {
      yield this.#recent.slice(after + 1 - oldest.seq)
      return
    }
    for (const n of segments(this.#dir)) {
      const entries = readSegment(this.#dir, n)
      const last = entries.at(-1)
      if (last !== undefined && last.seq > after) yield entries.filter((entry) => entry.seq > after)
    }
  }

  #next(): void {
    const fd = openSync(segmentPath(this.#dir, this.#segment + 1), "a", 0o600)
    closeSync(this.#fd)
    this.#fd = fd
    this.#segment += 1
    this.#before += this.#size
    this.#size = 0
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#sync)
    closeSync(this.#fd)
  }
}

function segmentPath(dir: string, n: number): string {
  return join(dir, `ledger-${String(n).padStart(6, "0")}.jsonl`)
}

function segments(dir: string): number[] {
  return readdirSync(dir)
    .map((name) => SEGMENT_NAME.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b)
}

/** Length of a file up to the end of its last whole line, in bytes. */
function wholeLines(path: string): number {
  return readFileSync(path).lastIndexOf(10) + 1
}

/** Entries of one file; a line that is none, as a damaged disk leaves it, shows as a gap in the chain. */
function readSegment(dir: string, n: number): LedgerEntry[] {
  const entries: LedgerEntry[] = []
  for (const line of readFileSync(segmentPath(dir, n), "utf8").split("\n")) {
    const entry = parseEntry(line)
    if (entry !== undefined) entries.push(entry)
  }
  return entries
}

function parseEntry(line: string): LedgerEntry | undefined {
  if (line === "") return undefined
  try {
    return ledgerEntry().safeParse(JSON.parse(line)).data
  } catch {
    return undefined
  }
}
