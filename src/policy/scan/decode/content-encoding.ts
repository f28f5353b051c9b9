/** Undoes the encodings that Content-Encoding names (RFC 9110 section 8.4), one after the other. */
import { brotliDecompressSync, zstdDecompressSync } from "node:zlib"
import { BudgetSpent } from "../budget.ts"
import { gunzip, inflateZlib } from "./compressed.ts"
import { type Inflated, inflate } from "./inflate.ts"
import { zstdFrameEnd } from "./zstd-frame.ts"

/** Most encodings of one body: each can multiply the bytes by a thousand. */
const ENCODINGS_MAX = 3

/** Encodings in the order in which they were applied; undefined when one of them is unknown here. */
export function encodingsOf(contentEncoding: string): string[] | undefined {
  const names = contentEncoding
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "" && name !== "identity")
  const known = names.every((name) => /^(?:x-)?gzip$|^deflate$|^br$|^zstd$/.test(name))
  return known && names.length <= ENCODINGS_MAX ? names : undefined
}

/** The body as its receiver reads it. Throws BudgetSpent for what does not decode or grows over `most` bytes. */
export function undoEncodings(body: Uint8Array, encodings: readonly string[], most: number): Uint8Array {
  return encodings.reduceRight((bytes, encoding) => undo(bytes, encoding, most), body)
}

function undo(bytes: Uint8Array, encoding: string, most: number): Uint8Array {
  if (bytes.length === 0) return bytes
  if (encoding === "br" || encoding === "zstd") {
    // The runtime takes a Zstandard frame that is cut off for a whole one, and its receiver may get the rest.
    if (encoding === "zstd" && !areWholeFrames(bytes)) throw new BudgetSpent("undecodable")
    try {
      return (encoding === "br" ? brotliDecompressSync : zstdDecompressSync)(bytes, { maxOutputLength: most })
    } catch (error) {
      const large = error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE"
      throw new BudgetSpent(large ? "decoded-bytes" : "undecodable")
    }
  }
  if (encoding === "deflate") {
    // The name means zlib's form (RFC 9110 section 8.4.1.2), and many send the bare one.
    const zlib = inflateZlib(bytes, 0, bytes.length, most)
    return whole(zlib !== undefined && zlib.end !== "corrupt" ? zlib : inflate(bytes, 0, bytes.length, most))
  }
  const members: Uint8Array[] = []
  let length = 0
  for (let at = 0; at < bytes.length; ) {
    const member = gunzip(bytes, at, bytes.length, most - length)
    if (member === undefined) throw new BudgetSpent("undecodable")
    members.push(whole(member))
    length += member.bytes.length
    at = member.next
  }
  return members.length === 1 ? members[0]! : Buffer.concat(members, length)
}

function areWholeFrames(bytes: Uint8Array): boolean {
  let at = 0
  while (at >= 0 && at < bytes.length) at = zstdFrameEnd(bytes, at, bytes.length)
  return at === bytes.length
}

function whole(inflated: Inflated): Uint8Array {
  if (inflated.end === "full") throw new BudgetSpent("decoded-bytes")
  if (inflated.end !== "whole") throw new BudgetSpent("undecodable")
  return inflated.bytes
}
