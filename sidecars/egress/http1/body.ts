/** Bodies of HTTP/1.1 messages: read by their framing, written with one of ours. */
import { BATCH_BYTES, CHUNK_LINE_MAX_BYTES, TRAILERS_MAX_BYTES } from "../limits.ts"
import { Turn } from "../turn.ts"
import { HttpFault } from "./fault.ts"
import type { Framing } from "./framing.ts"
import { type Field, parseTrailers } from "./head.ts"

/** Where the bytes of a body come from. */
export interface ByteSource {
  /** Next bytes; undefined when none are here yet */
  take(): Buffer | undefined
  unread(piece: Buffer): void
  more(): Promise<void>
  readonly ended: boolean
  /** The connection was lost, not ended by the peer */
  readonly broken: boolean
}

type ChunkState = "size" | "data" | "data-end" | "trailers"

/** Reads one body. Each call of `poll` gives data without its framing. */
export class BodyReader {
  /** Fields after a chunked body; valid once `done` */
  trailers: Field[] = []
  /** The whole body was read */
  done: boolean
  /** Bytes of data read so far */
  bytes = 0
  readonly #source: ByteSource
  readonly #framing: Framing
  #left: number
  #state: ChunkState = "size"
  /** Start of a chunk-size line or trailer section that is not complete yet */
  #partial = ""

  constructor(source: ByteSource, framing: Framing) {
    this.#source = source
    this.#framing = framing
    this.#left = framing.kind === "length" ? framing.length : 0
    this.done = framing.kind === "none" || (framing.kind === "length" && framing.length === 0)
  }

  /** Data; null at the end; undefined when more bytes are needed. Throws HttpFault, also when the body is cut short. */
  poll(): Buffer | null | undefined {
    while (!this.done) {
      const piece = this.#source.take()
      if (piece === undefined) {
        if (!this.#source.ended) return undefined
        // A reset is no end: the client would take half a file for the whole, behind a last chunk of ours.
        if (this.#framing.kind !== "close" || this.#source.broken) {
          throw new HttpFault("ends before its body does")
        }
        this.done = true
        break
      }
      const data = this.#framing.kind === "chunked" ? this.#dechunk(piece) : this.#plain(piece)
      if (data !== undefined) {
        this.bytes += data.length
        return data
      }
    }
    return null
  }

  /** Resolves when `poll` has something to say. */
  more(): Promise<void> {
    return this.#source.more()
  }

  #plain(piece: Buffer): Buffer {
    if (this.#framing.kind === "close") return piece
    const data = this.#upToLeft(piece)
    this.done = this.#left === 0
    return data
  }

  #upToLeft(piece: Buffer): Buffer {
    if (piece.length <= this.#left) {
      this.#left -= piece.length
      return piece
    }
    const data = piece.subarray(0, this.#left)
    this.#source.unread(piece.subarray(this.#left))
    this.#left = 0
    return data
  }

  #dechunk(start: Buffer): Buffer | undefined {
    let piece = start
    while (piece.length > 0 && !this.done) {
      if (this.#state === "data") {
        const data = this.#upToLeft(piece)
        if (this.#left === 0) this.#state = "data-end"
        return data
      }
      piece = this.#state === "trailers" ? this.#readTrailers(piece) : this.#readLine(piece)
    }
    if (piece.length > 0) this.#source.unread(piece)
    return undefined
  }

  /** Reads the line end after data or a chunk-size line; returns what follows it. */
  #readLine(piece: Buffer): Buffer {
    const lf = piece.indexOf(10)
    const taken = lf < 0 ? piece.length : lf + 1
    if (this.#partial.length + taken > CHUNK_LINE_MAX_BYTES) {
      throw new HttpFault(`has a chunk-size line of more than ${CHUNK_LINE_MAX_BYTES} bytes`)
    }
    const line = this.#partial + piece.toString("latin1", 0, taken)
    if (lf < 0) {
      this.#partial = line
      return piece.subarray(taken)
    }
    this.#partial = ""
    if (!line.endsWith("\r\n")) throw new HttpFault("has a bare LF in its chunked body")
    if (this.#state === "data-end") {
      if (line !== "\r\n") throw new HttpFault("has a chunk longer than its size")
      this.#state = "size"
    } else {
      this.#left = chunkSize(line)
      this.#state = this.#left === 0 ? "trailers" : "data"
    }
    return piece.subarray(taken)
  }

  /** Reads up to the empty line after the last chunk; returns what follows it. */
  #readTrailers(piece: Buffer): Buffer {
    const lf = piece.indexOf(10)
    const taken = lf < 0 ? piece.length : lf + 1
    const text = this.#partial + piece.toString("latin1", 0, taken)
    if (text.length > TRAILERS_MAX_BYTES) throw new HttpFault("has a trailer section that is too large")
    if (text === "\r\n" || text.endsWith("\r\n\r\n")) {
      this.trailers = parseTrailers(text.slice(0, -4))
      this.done = true
      this.#partial = ""
    } else {
      if (lf >= 0 && !text.endsWith("\r\n")) throw new HttpFault("has a bare LF in its trailers")
      this.#partial = text
    }
    return piece.subarray(taken)
  }
}

/** Size in a chunk-size line. Extensions are read over; they are hop-by-hop (RFC 9112 7.1.1). */
function chunkSize(line: string): number {
  const match = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n$/.exec(line)
  if (match === null) throw new HttpFault("has a chunk size that is not a hexadecimal number")
  return Number.parseInt(match[1]!, 16)
}

/** Where the bytes of a body go. */
export interface ByteSink {
  /** False when the caller has to wait for `drained` */
  write(data: Buffer | string): boolean
  drained(): Promise<void>
  readonly closed: boolean
}

/** The side a body goes to is gone: there is nobody left to tell. */
export class SinkGone extends Error {
  override readonly name = "SinkGone"
}

/** Writes one body. Pieces are joined until `flush`, together with the head that was given first. */
export class BodyWriter {
  readonly #sink: ByteSink
  readonly #chunked: boolean
  #parts: Buffer[] = []
  #size = 0

  constructor(sink: ByteSink, framing: Framing, head: string) {
    this.#sink = sink
    this.#chunked = framing.kind === "chunked"
    if (head !== "") this.#push(Buffer.from(head, "latin1"))
  }

  /** Bytes that wait for `flush`. */
  get size(): number {
    return this.#size
  }

  add(data: Buffer): void {
    if (data.length === 0) return
    if (this.#chunked) {
      this.#push(Buffer.from(`${data.length.toString(16)}\r\n`, "latin1"))
      this.#push(data)
      this.#push(CRLF)
    } else {
      this.#push(data)
    }
  }

  /** Ends the body; a body with its own length has no trailers. */
  end(trailers: readonly Field[]): void {
    if (!this.#chunked) return
    let text = "0\r\n"
    for (const field of trailers) text += `${field.name}: ${field.value}\r\n`
    this.#push(Buffer.from(`${text}\r\n`, "latin1"))
  }

  /** Writes what waits; false when the caller has to wait for `drained`. */
  flush(): boolean {
    if (this.#size === 0) return true
    const parts = this.#parts
    const size = this.#size
    this.#parts = []
    this.#size = 0
    if (parts.length === 1) return this.#sink.write(parts[0]!)
    if (size < BATCH_BYTES) return this.#sink.write(Buffer.concat(parts, size))
    // Large pieces are not copied: memory of 100 MB of copies is only given back when the collector comes round.
    let more = true
    for (const part of parts) more = this.#sink.write(part)
    return more
  }

  /** Resolves when more may be written. Throws SinkGone. */
  async drained(): Promise<void> {
    if (!this.#sink.closed) await this.#sink.drained()
    if (this.#sink.closed) throw new SinkGone("the connection was closed")
  }

  #push(part: Buffer): void {
    this.#parts.push(part)
    this.#size += part.length
  }
}

const CRLF = Buffer.from("\r\n", "latin1")

/** Bytes changed on their way, without a change of length in total. */
export interface Filter {
  push(chunk: Uint8Array): Uint8Array
  end(): Uint8Array
}

/**
 * Moves one body, as fast as the slower side. What is here is sent at once, joined up to BATCH_BYTES, so that events
 * of a stream do not wait. Throws HttpFault of the reader; `trailers` turns the reader's trailers into those to send.
 */
export async function pump(
  reader: BodyReader,
  writer: BodyWriter,
  filter: Filter | undefined,
  trailers: (fields: Field[]) => Field[],
): Promise<void> {
  const turn = new Turn()
  for (;;) {
    const piece = reader.poll()
    if (piece === null) break
    if (piece === undefined) {
      if (!writer.flush()) await writer.drained()
      await reader.more()
      continue
    }
    writer.add(filter === undefined ? piece : asBuffer(filter.push(piece)))
    const over = turn.over
    if ((over || writer.size >= BATCH_BYTES) && !writer.flush()) await writer.drained()
    if (over) await turn.pass()
  }
  if (filter !== undefined) writer.add(asBuffer(filter.end()))
  writer.end(trailers(reader.trailers))
  if (!writer.flush()) await writer.drained()
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
