/** Reads one head from a connection. */
import { HEAD_PIECES_MAX } from "../limits.ts"
import type { ByteSource } from "./body.ts"
import { HttpFault } from "./fault.ts"
import { headLength } from "./head.ts"

/** The bytes of the next head with its empty line; undefined when the peer ended before one. Throws HttpFault. */
export async function readHead(source: ByteSource): Promise<Buffer | undefined> {
  let bytes = await nextPiece(source)
  if (bytes === undefined) return undefined
  let looked = 0
  for (let pieces = 1; ; pieces++) {
    const length = headLength(bytes, looked)
    if (length >= 0) {
      source.unread(bytes.subarray(length))
      return bytes.subarray(0, length)
    }
    if (pieces === HEAD_PIECES_MAX) throw new HttpFault(`has a head in more than ${HEAD_PIECES_MAX} pieces`)
    looked = bytes.length
    const piece = await nextPiece(source)
    if (piece === undefined) throw new HttpFault("ends inside its head")
    bytes = Buffer.concat([bytes, piece])
  }
}

/** The next bytes; undefined at the end. */
export async function nextPiece(source: ByteSource): Promise<Buffer | undefined> {
  for (;;) {
    const piece = source.take()
    if (piece !== undefined) return piece
    if (source.ended) return undefined
    await source.more()
  }
}
