/**
 * Finds compressed data anywhere in bytes by its first bytes: gzip, zlib, members of ZIP files, Zstandard. Brotli has no
 * such mark and is known by Content-Encoding alone.
 */
import { isAscii } from "node:buffer"
import { zstdDecompressSync } from "node:zlib"
import { BudgetSpent } from "../budget.ts"
import { reachesEnd, segmentAt, segmentEnd, type View } from "../view.ts"
import { type Inflated, inflate } from "./inflate.ts"
import { ZSTD_MAGIC, zstdFrameEnd } from "./zstd-frame.ts"

/** What one attempt costs at least, in bytes of work: a dynamic block's tables are built before it is found invalid */
const ATTEMPT_WORK = 1024
/** Output of one piece, in bytes: an archive of sources; a body as a whole may have twice as much */
const PIECE_MAX = 8 * 1024 * 1024
/** Output of something that then turned out damaged, in bytes: less is chance */
const DAMAGED_MIN = 32

/** What the decoder may use, and whom it tells that a piece goes on beyond the window. */
export interface Work {
  work(bytes: number): void
  readonly left: number
  /** `at`: where the piece begins in the view. True when the rest is waited for, and the piece is not needed yet */
  unfinished(view: View, at: number): boolean
}

type Opener = (
  bytes: Uint8Array,
  from: number,
  to: number,
  most: number,
  isCopy: boolean,
) => Inflated | undefined

/** Decodings that change some bytes of binary data by chance: what is whole there stands whole before them, too. */
const COPIES = new Set(["percent", "escapes", "entities", "quoted-printable", "joined"])

const FORMS: readonly { name: string; magic: Uint8Array; open: Opener }[] = [
  { name: "gzip", magic: Uint8Array.of(0x1f, 0x8b, 0x08), open: gunzip },
  // RFC 1950 section 2.2: a window of 32 KiB and one of four levels, as every encoder writes it.
  ...[0x01, 0x5e, 0x9c, 0xda].map((flags) => ({
    name: "zlib",
    magic: Uint8Array.of(0x78, flags),
    open: inflateZlib,
  })),
  { name: "zip", magic: Uint8Array.of(0x50, 0x4b, 0x03, 0x04), open: unzip },
  { name: "zstd", magic: ZSTD_MAGIC, open: unzstd },
]

/** One view for each piece that gives anything. Throws BudgetSpent. */
export function* decompress(view: View, work: Work): Generator<View> {
  const { bytes } = view
  // Whatever is compressed has bytes that ASCII lacks.
  if (isAscii(bytes)) return
  const isCopy = view.decoded.some((name) => COPIES.has(name))
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  for (const { name, magic, open } of FORMS) {
    let at = buffer.indexOf(magic)
    while (at >= 0) {
      work.work(ATTEMPT_WORK)
      const to = segmentEnd(view, segmentAt(view, at))
      const piece = isPixelData(bytes, at)
        ? undefined
        : open(bytes, at, to, Math.min(PIECE_MAX, work.left), isCopy)
      const waits = piece?.end === "truncated" && reachesEnd(view, to) && work.unfinished(view, at)
      let next = at + 1
      if (piece !== undefined && !waits && isWorthIt(piece)) {
        if (piece.end === "full") throw new BudgetSpent("decoded-bytes")
        work.work(piece.bytes.length)
        yield {
          bytes: piece.bytes,
          decoded: [...view.decoded, name],
          parent: view,
          starts: [0],
          from: [at],
          to: [piece.next],
        }
        if (piece.end === "whole") next = Math.max(next, piece.next)
      }
      at = buffer.indexOf(magic, next)
    }
  }
}

function isWorthIt(piece: Inflated): boolean {
  return piece.end === "whole" ? piece.bytes.length > 0 : piece.bytes.length >= DAMAGED_MIN
}

/**
 * The first chunk of a PNG's image data. Pictures are sent to models all day, unfold to many times their size, and what
 * is hidden in pixels is found by no scanner.
 */
function isPixelData(bytes: Uint8Array, at: number): boolean {
  return bytes[at - 4] === 0x49 && bytes[at - 3] === 0x44 && bytes[at - 2] === 0x41 && bytes[at - 1] === 0x54
}

/** RFC 1952, one member; undefined when the header is none. Sums are not compared: a receiver may not either. */
export function gunzip(bytes: Uint8Array, from: number, to: number, most: number): Inflated | undefined {
  if (to - from < 10) return to - from < 3 ? undefined : cutOff(to)
  if (bytes[from] !== 0x1f || bytes[from + 1] !== 0x8b || bytes[from + 2] !== 8) return undefined
  const flags = bytes[from + 3]!
  if ((flags & 0xe0) !== 0) return undefined
  let at = from + 10
  if ((flags & 4) !== 0) at += 2 + (bytes[at] ?? 0) + (bytes[at + 1] ?? 0) * 256
  for (const flag of [8, 16]) {
    if ((flags & flag) === 0) continue
    while (at < to && bytes[at] !== 0) at++
    at++
  }
  if ((flags & 2) !== 0) at += 2
  if (at >= to) return cutOff(to)
  const inflated = inflate(bytes, at, to, most)
  return inflated.end === "whole" ? { ...inflated, next: Math.min(to, inflated.next + 8) } : inflated
}

/** RFC 1950; undefined when the header is none. */
export function inflateZlib(bytes: Uint8Array, from: number, to: number, most: number): Inflated | undefined {
  if (to - from < 3) return cutOff(to)
  const head = bytes[from]! * 256 + bytes[from + 1]!
  if ((head & 0x0f00) !== 0x0800 || head % 31 !== 0 || (head & 0x20) !== 0) return undefined
  const inflated = inflate(bytes, from + 2, to, most)
  return inflated.end === "whole" ? { ...inflated, next: Math.min(to, inflated.next + 4) } : inflated
}

/** A member of a ZIP file (APPNOTE 4.3.7): only what is deflated; what is stored stands there plainly. */
function unzip(bytes: Uint8Array, from: number, to: number, most: number): Inflated | undefined {
  if (to - from < 30) return cutOff(to)
  if (bytes[from + 8] !== 8 || bytes[from + 9] !== 0) return undefined
  const name = bytes[from + 26]! + bytes[from + 27]! * 256
  const extra = bytes[from + 28]! + bytes[from + 29]! * 256
  const at = from + 30 + name + extra
  return at >= to ? cutOff(to) : inflate(bytes, at, to, most)
}

function unzstd(
  bytes: Uint8Array,
  from: number,
  to: number,
  most: number,
  isCopy: boolean,
): Inflated | undefined {
  const end = zstdFrameEnd(bytes, from, to)
  if (end === -1) return cutOff(to)
  if (end === -2) return undefined
  try {
    const out = zstdDecompressSync(bytes.subarray(from, end), { maxOutputLength: most })
    return { bytes: out, end: "whole", next: end }
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") {
      throw new BudgetSpent("decoded-bytes")
    }
    if (isCopy) return undefined
    // A whole frame, and yet no data: with a dictionary, or damaged. Nobody can say what it holds.
    throw new BudgetSpent("undecodable")
  }
}

function cutOff(to: number): Inflated {
  return { bytes: new Uint8Array(0), end: "truncated", next: to }
}
