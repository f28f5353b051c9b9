/** What the dynamic loader will look for when it starts a program: read from the file, nothing is run. */
import { closeSync, openSync, readSync } from "node:fs"

/** What an ELF file says of itself */
export interface ElfFile {
  /** Absolute path of the dynamic loader; absent in a static program and in a library */
  loader?: string
  /** File names of the libraries it needs */
  needed: string[]
  /** Folders that it names for them (DT_RPATH, DT_RUNPATH), `$ORIGIN` not yet replaced */
  searchPath: string[]
}

const MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46])
const CLASS_64 = 2
const LITTLE_ENDIAN = 1
const HEADER_SIZE = 64
const PROGRAM_HEADER_SIZE = 56
const DYNAMIC_ENTRY_SIZE = 16
const [PT_LOAD, PT_DYNAMIC, PT_INTERP] = [1, 2, 3]
const [DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_RPATH, DT_RUNPATH] = [0, 1, 5, 10, 15, 29]

/** Most bytes read of one table; the largest programs have a tenth of it. */
const TABLE_MAX = 4 * 1024 * 1024

interface Segment {
  type: number
  /** Place in the file, in bytes */
  offset: number
  /** Address in memory */
  address: number
  /** Size in the file, in bytes */
  size: number
}

/** Whether the file begins as an ELF file does. */
export function isElf(head: Buffer): boolean {
  return head.subarray(0, MAGIC.length).equals(MAGIC)
}

/** undefined when the file is none, or not one for a 64-bit little-endian machine, or damaged. */
export function readElf(path: string): ElfFile | undefined {
  const fd = openSync(path, "r")
  try {
    return parse((offset, size) => readExactly(fd, offset, size))
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  } finally {
    closeSync(fd)
  }
}

function readExactly(fd: number, offset: number, size: number): Buffer {
  if (!Number.isSafeInteger(offset) || offset < 0 || size > TABLE_MAX) throw new RangeError("no such part")
  const bytes = Buffer.alloc(size)
  let length = 0
  while (length < size) {
    const got = readSync(fd, bytes, length, size - length, offset + length)
    if (got === 0) throw new RangeError("the file is shorter than it says")
    length += got
  }
  return bytes
}

function parse(read: (offset: number, size: number) => Buffer): ElfFile | undefined {
  const header = read(0, HEADER_SIZE)
  if (!isElf(header) || header[4] !== CLASS_64 || header[5] !== LITTLE_ENDIAN) return undefined
  const segments = segmentsOf(header, read)
  const found: ElfFile = { needed: [], searchPath: [] }

  const loader = segments.find((segment) => segment.type === PT_INTERP)
  if (loader !== undefined) found.loader = textAt(read(loader.offset, loader.size), 0)

  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC)
  if (dynamic === undefined) return found
  const entries = dynamicEntries(read(dynamic.offset, dynamic.size))
  const names = entries.find(([tag]) => tag === DT_STRTAB)?.[1]
  const size = entries.find(([tag]) => tag === DT_STRSZ)?.[1]
  if (names === undefined || size === undefined) return found
  // The table is given as an address in memory, and the segments say which part of the file lands there.
  const holder = segments.find(
    ({ type, address, size: length }) => type === PT_LOAD && names >= address && names < address + length,
  )
  if (holder === undefined) return undefined
  const strings = read(holder.offset + (names - holder.address), size)
  for (const [tag, value] of entries) {
    if (tag === DT_NEEDED) found.needed.push(textAt(strings, value))
    if (tag === DT_RPATH || tag === DT_RUNPATH) {
      found.searchPath.push(
        ...textAt(strings, value)
          .split(":")
          .filter((folder) => folder !== ""),
      )
    }
  }
  return found
}

function segmentsOf(header: Buffer, read: (offset: number, size: number) => Buffer): Segment[] {
  const count = header.readUInt16LE(56)
  if (header.readUInt16LE(54) !== PROGRAM_HEADER_SIZE) throw new RangeError("an unknown size of entries")
  const table = read(number64(header, 32), count * PROGRAM_HEADER_SIZE)
  return Array.from({ length: count }, (_, index) => {
    const at = index * PROGRAM_HEADER_SIZE
    return {
      type: table.readUInt32LE(at),
      offset: number64(table, at + 8),
      address: number64(table, at + 16),
      size: number64(table, at + 32),
    }
  })
}

function dynamicEntries(table: Buffer): [tag: number, value: number][] {
  const entries: [number, number][] = []
  for (let at = 0; at + DYNAMIC_ENTRY_SIZE <= table.length; at += DYNAMIC_ENTRY_SIZE) {
    const tag = Number(table.readBigInt64LE(at))
    if (tag === DT_NULL) break
    entries.push([tag, Number(table.readBigUInt64LE(at + 8))])
  }
  return entries
}

function number64(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at))
}

function textAt(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at)
  if (at > bytes.length || end < 0) throw new RangeError("a text without an end")
  return bytes.toString("utf8", at, end)
}
