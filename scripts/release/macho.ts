/**
 * Whether a Mach-O file carries a signature that its own bytes bear out. macOS on arm64 kills what is not signed, and
 * no tool of Apple's is there when the file is made on Linux: so the load commands are read as <mach-o/loader.h> has
 * them, and the signature as Apple's cs_blobs.h, which is big-endian where the rest is little-endian.
 */
import { createHash } from "node:crypto"

const MAGIC_64 = 0xfeedfacf
const CPU_TYPES: Record<number, "x64" | "arm64"> = { 16777223: "x64", 16777228: "arm64" }
const LC_CODE_SIGNATURE = 0x1d
const LC_SEGMENT_64 = 0x19
const EMBEDDED_SIGNATURE = 0xfade0cc0
const CODE_DIRECTORY = 0xfade0c02
const CS_ADHOC = 0x2
const HASH_SHA256 = 2
/** Bytes of a header, before the load commands */
const HEADER_BYTES = 32

export interface MachO {
  arch: "x64" | "arm64"
  /** Absent where there is no signature at all */
  signature?: MachOSignature
}

export interface MachOSignature {
  /** Name that the signature gives the program */
  identifier: string
  /** Whether nobody's certificate stands behind it, which is enough to run */
  adHoc: boolean
  /** What does not match, one line each; none means that macOS finds the bytes as they were signed */
  faults: string[]
}

interface Segment {
  /** Place of its load command in the file */
  command: number
  /** Place of its bytes in the file, and how many they are */
  offset: number
  size: number
}

interface Layout {
  arch: "x64" | "arm64"
  segments: Map<string, Segment>
  signature?: Segment
}

/** Load commands of a thin 64-bit Mach-O file. Throws an Error on anything else. */
function readLayout(file: Buffer): Layout {
  if (file.length < HEADER_BYTES || file.readUInt32LE(0) !== MAGIC_64)
    throw new Error("not a 64-bit Mach-O file")
  const arch = CPU_TYPES[file.readUInt32LE(4)]
  if (arch === undefined) throw new Error(`a Mach-O file for an unknown machine, ${file.readUInt32LE(4)}`)
  const layout: Layout = { arch, segments: new Map() }
  let at = HEADER_BYTES
  for (let left = file.readUInt32LE(16); left > 0; left--) {
    const command = file.readUInt32LE(at)
    const length = file.readUInt32LE(at + 4)
    if (length < 8) throw new Error("a Mach-O file with a load command of no length")
    if (command === LC_CODE_SIGNATURE) {
      const [offset, size] = [file.readUInt32LE(at + 8), file.readUInt32LE(at + 12)]
      layout.signature = { command: at, offset, size }
    }
    if (command === LC_SEGMENT_64) {
      const [offset, size] = [Number(file.readBigUInt64LE(at + 40)), Number(file.readBigUInt64LE(at + 48))]
      layout.segments.set(text(file, at + 8, 16), { command: at, offset, size })
    }
    at += length
  }
  return layout
}

/** Which machine a file is for, and whether its signature holds. */
export function readMachO(file: Buffer): MachO {
  const { arch, segments, signature } = readLayout(file)
  if (signature === undefined) return { arch }
  const faults: string[] = []
  const end = signature.offset + signature.size
  if (end !== file.length) faults.push(`the signature ends at ${end}, the file at ${file.length}`)
  const linkEdit = segments.get("__LINKEDIT")
  if (linkEdit === undefined || linkEdit.offset + linkEdit.size !== end) {
    faults.push("the signature is not the end of __LINKEDIT")
  }
  const read = readSignature(file, signature.offset)
  return { arch, signature: { ...read, faults: [...faults, ...read.faults] } }
}

/** Where the signature of a file goes that has one already, right or wrong, and what it has to speak of. */
export function signatureSpace(file: Buffer): {
  /** Place of the signature's first byte */
  start: number
  /** Place of its load command */
  command: number
  linkEdit: Segment
  text: Segment
} {
  const { segments, signature } = readLayout(file)
  const linkEdit = segments.get("__LINKEDIT")
  const code = segments.get("__TEXT")
  if (signature === undefined || linkEdit === undefined || code === undefined) {
    throw new Error("a Mach-O file without room for a signature")
  }
  return { start: signature.offset, command: signature.command, linkEdit, text: code }
}

function readSignature(file: Buffer, start: number): MachOSignature {
  if (file.readUInt32BE(start) !== EMBEDDED_SIGNATURE) {
    return { identifier: "", adHoc: false, faults: ["no signature where the load command points"] }
  }
  for (let i = 0; i < file.readUInt32BE(start + 8); i++) {
    const blob = start + file.readUInt32BE(start + 12 + i * 8 + 4)
    if (file.readUInt32BE(blob) === CODE_DIRECTORY) return checkDirectory(file, blob, start)
  }
  return { identifier: "", adHoc: false, faults: ["a signature without a code directory"] }
}

/** Hashes each page of the signed part, as the kernel does when it is first touched. */
function checkDirectory(file: Buffer, blob: number, signedEnd: number): MachOSignature {
  const flags = file.readUInt32BE(blob + 12)
  const hashes = blob + file.readUInt32BE(blob + 16)
  const identifier = text(file, blob + file.readUInt32BE(blob + 20))
  const slots = file.readUInt32BE(blob + 28)
  const codeLimit = file.readUInt32BE(blob + 32)
  const hashSize = file.readUInt8(blob + 36)
  const hashType = file.readUInt8(blob + 37)
  const pageSize = 2 ** file.readUInt8(blob + 39)
  const faults: string[] = []
  if (hashType !== HASH_SHA256 || hashSize !== 32) faults.push(`hashes of type ${hashType}, not SHA-256`)
  if (codeLimit !== signedEnd) faults.push(`${codeLimit} bytes are signed, ${signedEnd} are to be`)
  if (slots !== Math.ceil(codeLimit / pageSize))
    faults.push(`${slots} pages are signed of ${codeLimit / pageSize}`)
  let wrong = 0
  for (let page = 0; page < slots; page++) {
    const bytes = file.subarray(page * pageSize, Math.min((page + 1) * pageSize, codeLimit))
    const hash = createHash("sha256").update(bytes).digest()
    if (!hash.equals(file.subarray(hashes + page * hashSize, hashes + (page + 1) * hashSize))) wrong++
  }
  if (wrong > 0) faults.push(`${wrong} of ${slots} pages differ from what was signed`)
  return { identifier, adHoc: (flags & CS_ADHOC) !== 0, faults }
}

/** A text that ends at a zero byte or after `max` bytes. */
function text(file: Buffer, at: number, max = 1024): string {
  const end = file.subarray(at, at + max).indexOf(0)
  return file.toString("latin1", at, at + (end < 0 ? max : end))
}
