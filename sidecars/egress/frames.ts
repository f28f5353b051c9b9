/**
 * WebSocket frames from an upstream (RFC 6455 5.2), scrubbed in place. Lengths stay, so headers stay true; a message
 * may be spread over frames and a credential over both, so bytes that could begin one are held back across frames.
 */
import { WS_FRAME_MAX_BYTES, WS_PENDING_MAX_BYTES } from "./limits.ts"
import type { Scrubber } from "./scrub.ts"

/** Frames that cannot be followed: the connection is closed. */
export class FrameFault extends Error {
  override readonly name = "FrameFault"
}

const CONTINUATION = 0
const BINARY = 2
const CLOSE = 8
const PONG = 10

interface Header {
  /** Bytes of the header */
  size: number
  /** Bytes of payload */
  length: number
  opcode: number
  fin: boolean
}

/** Follows one direction of one connection. */
export class FrameScrubber {
  readonly #messages: Scrubber
  /** For control frames, which may stand between the frames of a message */
  readonly #control: Scrubber
  #rest: Buffer = Buffer.alloc(0)
  #frame: Header | undefined
  #left = 0
  #inMessage = false
  /** What goes out when so many more payload bytes of the message have gone out */
  #queue: { after: number; bytes: Buffer }[] = []
  #queued = 0
  /** Payload bytes given to the scrubber and not yet come out of it */
  #held = 0

  constructor(messages: Scrubber, control: Scrubber) {
    this.#messages = messages
    this.#control = control
  }

  /** Takes the next bytes; returns those that may go on. Throws FrameFault. */
  push(chunk: Buffer): Buffer {
    const out: Buffer[] = []
    let bytes: Buffer = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    for (;;) {
      this.#frame ??= readHeader(bytes)
      const frame = this.#frame
      if (frame === undefined) break
      const control = frame.opcode >= CLOSE
      if (this.#left === 0) {
        // Control frames are at most 125 bytes and are looked at as a whole.
        if (control && bytes.length < frame.size + frame.length) break
        this.#check(frame)
        this.#place(out, bytes.subarray(0, frame.size))
        bytes = bytes.subarray(frame.size)
        this.#left = frame.length
      }
      const payload = bytes.subarray(0, this.#left)
      bytes = bytes.subarray(payload.length)
      this.#left -= payload.length
      if (control) this.#place(out, whole(this.#control, payload))
      else this.#pass(out, payload, this.#left === 0 && frame.fin)
      if (this.#left > 0) {
        this.#rest = Buffer.alloc(0)
        return Buffer.concat(out)
      }
      this.#frame = undefined
    }
    this.#rest = bytes
    return Buffer.concat(out)
  }

  #check(frame: Header): void {
    if (frame.opcode >= CLOSE) return
    const first = frame.opcode !== CONTINUATION
    if (first === this.#inMessage) throw new FrameFault("fragments out of order")
    this.#inMessage = !frame.fin
  }

  /** Puts bytes where they belong between the payload bytes that are held back. */
  #place(out: Buffer[], bytes: Buffer): void {
    if (this.#held === 0) {
      out.push(bytes)
      return
    }
    this.#queued += bytes.length
    if (this.#queued > WS_PENDING_MAX_BYTES) throw new FrameFault("too many frames without content")
    // A copy: the chunk it is a view of would live as long as the queue.
    this.#queue.push({ after: this.#held, bytes: Buffer.from(bytes) })
  }

  #pass(out: Buffer[], payload: Buffer, last: boolean): void {
    this.#held += payload.length
    this.#emit(out, asBuffer(this.#messages.push(payload)))
    if (last) this.#emit(out, asBuffer(this.#messages.end()))
  }

  #emit(out: Buffer[], payload: Buffer): void {
    // Nothing came out, nothing moves: a run of empty fragments must not walk the queue once for each.
    if (payload.length === 0) return
    let data = payload
    this.#held -= payload.length
    let passed = 0
    while (this.#queue.length > 0) {
      const next = this.#queue[0]!
      if (next.after > passed + data.length) break
      const before = next.after - passed
      out.push(data.subarray(0, before), next.bytes)
      data = data.subarray(before)
      passed = next.after
      this.#queued -= next.bytes.length
      this.#queue.shift()
    }
    for (const item of this.#queue) item.after -= payload.length
    out.push(data)
  }
}

function whole(scrubber: Scrubber, payload: Buffer): Buffer {
  return Buffer.concat([scrubber.push(payload), scrubber.end()])
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The header at the start of `bytes`; undefined when it is not complete. Throws FrameFault. */
function readHeader(bytes: Buffer): Header | undefined {
  if (bytes.length < 2) return undefined
  const first = bytes[0]!
  const second = bytes[1]!
  const opcode = first & 0x0f
  const fin = (first & 0x80) !== 0
  // No extension was agreed on, so these bits would mean compression that nobody could look into.
  if ((first & 0x70) !== 0) throw new FrameFault("a frame uses an extension")
  if ((second & 0x80) !== 0) throw new FrameFault("a frame of a server is masked")
  if ((opcode > BINARY && opcode < CLOSE) || opcode > PONG)
    throw new FrameFault("a frame has an unknown opcode")
  let length = second & 0x7f
  let size = 2
  if (opcode >= CLOSE && (length > 125 || !fin))
    throw new FrameFault("a control frame is too long or fragmented")
  if (length === 126) {
    if (bytes.length < 4) return undefined
    length = bytes.readUInt16BE(2)
    size = 4
  } else if (length === 127) {
    if (bytes.length < 10) return undefined
    const long = bytes.readBigUInt64BE(2)
    if (long > BigInt(WS_FRAME_MAX_BYTES)) throw new FrameFault("a frame is too large")
    length = Number(long)
    size = 10
  }
  if (length > WS_FRAME_MAX_BYTES) throw new FrameFault("a frame is too large")
  return { size, length, opcode, fin }
}
