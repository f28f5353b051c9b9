/**
 * An ad-hoc signature for a Mach-O file, as Apple's linker makes it: hashes of all pages, and nobody's certificate.
 * Bun signs so when it compiles for arm64; for x64 it leaves the signature of its own makers, which the added code has
 * broken, and a signature that is wrong is worse than none.
 */
import { createHash } from "node:crypto"
import { signatureSpace } from "./macho.ts"

const PAGE_BITS = 12
const PAGE = 2 ** PAGE_BITS
const HASH_BYTES = 32
/** Bytes of a super blob with one entry, and of a code directory of version 0x20400, before what follows them */
const SUPER_BLOB_BYTES = 20
const DIRECTORY_BYTES = 88
/** Ad hoc, by a linker: the second tells codesign that it may put a real signature in its place */
const FLAGS = 0x2_0002
/** The executable segment is that of a main program */
const MAIN_BINARY = 1n

/** The file with one signature, over what it holds under the name given. Throws an Error where there is no room. */
export function signAdHoc(file: Buffer, identifier: string): Buffer {
  const { start, command, linkEdit, text } = signatureSpace(file)
  const name = Buffer.from(`${identifier}\0`)
  const pages = Math.ceil(start / PAGE)
  const directoryBytes = DIRECTORY_BYTES + name.length + pages * HASH_BYTES
  const size = SUPER_BLOB_BYTES + directoryBytes
  const signed = Buffer.alloc(start + size)
  file.copy(signed, 0, 0, start)

  // The load commands are signed too, so they come first.
  signed.writeUInt32LE(size, command + 12)
  const linkEditBytes = signed.length - linkEdit.offset
  signed.writeBigUInt64LE(BigInt(linkEditBytes), linkEdit.command + 48)
  const mapped = signed.readBigUInt64LE(linkEdit.command + 32)
  const needed = BigInt(Math.ceil(linkEditBytes / PAGE) * PAGE)
  if (mapped < needed) signed.writeBigUInt64LE(needed, linkEdit.command + 32)

  const blob = signed.subarray(start)
  words(blob, 0, [0xfade0cc0, size, 1, 0, SUPER_BLOB_BYTES])
  const directory = blob.subarray(SUPER_BLOB_BYTES)
  const hashes = DIRECTORY_BYTES + name.length
  words(directory, 0, [0xfade0c02, directoryBytes, 0x20400, FLAGS, hashes, DIRECTORY_BYTES, 0, pages, start])
  directory.set([HASH_BYTES, 2, 0, PAGE_BITS], 36)
  directory.writeBigUInt64BE(BigInt(text.offset), 64)
  directory.writeBigUInt64BE(BigInt(text.size), 72)
  directory.writeBigUInt64BE(MAIN_BINARY, 80)
  name.copy(directory, DIRECTORY_BYTES)
  for (let page = 0; page < pages; page++) {
    const bytes = signed.subarray(page * PAGE, Math.min((page + 1) * PAGE, start))
    createHash("sha256")
      .update(bytes)
      .digest()
      .copy(directory, hashes + page * HASH_BYTES)
  }
  return signed
}

function words(target: Buffer, at: number, values: readonly number[]): void {
  for (const [i, value] of values.entries()) target.writeUInt32BE(value, at + i * 4)
}
