/**
 * One end of a connection as a pull source and a push sink with back-pressure both ways. Streams of node are not used
 * for this: `pipe` cannot look at heads, and async iteration costs more than the proxying itself.
 */
import type { Socket } from "node:net"
import { type Expiring, unwatch, watch } from "./deadline.ts"
import { DRAIN_MAX_BYTES, DRAIN_MS, HIGH_WATER_BYTES } from "./limits.ts"

export class Wire implements Expiring {
  readonly socket: Socket
  deadline = Number.POSITIVE_INFINITY
  /** Bytes read and written since the connection was made */
  bytesIn = 0
  bytesOut = 0
  /** Called once when the peer has ended or the connection is gone, while nobody reads */
  onGone: (() => void) | undefined
  /** Milliseconds that each byte in or out puts the deadline off by; 0 for a fixed deadline */
  #renew = 0
  #held: Buffer[] = []
  #heldBytes = 0
  #paused = false
  #discard = false
  #discarded = 0
  #ended = false
  #broken = false
  #closed = false
  #reader: (() => void) | undefined
  #writer: (() => void) | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on("data", this.#onData)
    socket.on("end", this.#onEnd)
    socket.on("drain", this.#onDrain)
    socket.on("error", this.#onError)
    socket.on("close", this.#onClose)
    watch(this)
  }

  /** The peer will send nothing more and all it sent was taken. */
  get ended(): boolean {
    return this.#ended && this.#held.length === 0
  }

  /** The connection was lost, by a reset, a time limit or a decision of ours, before the peer ended it. */
  get broken(): boolean {
    return this.#broken
  }

  /** The peer has closed its side, whatever is still held. */
  get peerGone(): boolean {
    return this.#ended || this.#closed
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Bytes that were read and not taken. */
  get held(): number {
    return this.#heldBytes
  }

  /** The next bytes, or undefined when none are here: then wait for `more()`, unless `ended`. */
  take(): Buffer | undefined {
    const piece = this.#held.shift()
    if (piece === undefined) return undefined
    this.#heldBytes -= piece.length
    if (this.#paused && this.#heldBytes < HIGH_WATER_BYTES) {
      this.#paused = false
      this.socket.resume()
    }
    return piece
  }

  /** Gives back bytes that were taken and belong to what comes next. */
  unread(piece: Buffer): void {
    if (piece.length === 0) return
    this.#held.unshift(piece)
    this.#heldBytes += piece.length
  }

  /** Resolves when there are bytes to take, or none will come. */
  more(): Promise<void> {
    if (this.#held.length > 0 || this.#ended) return Promise.resolve()
    return new Promise((resolve) => {
      this.#reader = both(this.#reader, resolve)
    })
  }

  /** Writes; false means that the caller has to wait for `drained()` before it writes more. Strings are latin1. */
  write(data: Buffer | string): boolean {
    if (this.#closed) return false
    this.bytesOut += data.length
    this.#touch()
    return typeof data === "string" ? this.socket.write(data, "latin1") : this.socket.write(data)
  }

  /** Resolves when the peer has taken what was written, or is gone. */
  drained(): Promise<void> {
    if (this.#closed || !this.socket.writableNeedDrain) return Promise.resolve()
    return new Promise((resolve) => {
      this.#writer = both(this.#writer, resolve)
    })
  }

  /** Ends the connection when no byte moves for `ms`. */
  idleAfter(ms: number): void {
    this.#renew = ms
    this.deadline = performance.now() + ms
  }

  /** Ends the connection after `ms`, whatever moves. */
  endAfter(ms: number): void {
    this.#renew = 0
    this.deadline = performance.now() + ms
  }

  expire(): void {
    this.destroy()
  }

  destroy(): void {
    if (!this.#closed) this.socket.destroy()
    this.#gone()
  }

  /** Closes the sending side after what was written. */
  end(): void {
    if (!this.#closed) this.socket.end()
  }

  /**
   * Sends what was written, then closes. What still comes in is thrown away for a while: a socket closed with unread
   * bytes is reset, and the peer would lose the answer it has not read yet.
   */
  finish(): void {
    if (this.#closed) return
    this.#discard = true
    this.#held = []
    this.#heldBytes = 0
    this.endAfter(DRAIN_MS)
    this.socket.end()
    if (this.#paused) this.socket.resume()
    this.#paused = false
  }

  /** Lets go of the socket, paused, with the bytes that were not taken put back, for a TLS layer to be laid on it. */
  release(): Socket {
    this.socket.pause()
    this.socket.off("data", this.#onData)
    this.socket.off("end", this.#onEnd)
    this.socket.off("drain", this.#onDrain)
    this.socket.off("error", this.#onError)
    this.socket.off("close", this.#onClose)
    unwatch(this)
    const rest = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held)
    this.#held = []
    if (rest.length > 0) this.socket.unshift(rest)
    // The TLS layer hears of errors itself; without any listener node would end the process.
    this.socket.on("error", () => {})
    return this.socket
  }

  #touch(): void {
    if (this.#renew > 0) this.deadline = performance.now() + this.#renew
  }

  #onData = (piece: Buffer): void => {
    this.bytesIn += piece.length
    if (this.#discard) {
      this.#discarded += piece.length
      if (this.#discarded > DRAIN_MAX_BYTES) this.destroy()
      return
    }
    this.#held.push(piece)
    this.#heldBytes += piece.length
    this.#touch()
    if (this.#heldBytes >= HIGH_WATER_BYTES && !this.#paused) {
      this.#paused = true
      this.socket.pause()
    }
    this.#wakeReader()
  }

  #onDrain = (): void => {
    this.#touch()
    this.#wakeWriter()
  }

  #onEnd = (): void => {
    this.#ended = true
    this.#wakeReader()
    this.#tellGone()
  }

  // Errors need no text here: what follows is always `close`, and what was being done says what failed.
  #onError = (): void => {
    this.#gone()
  }

  #onClose = (): void => {
    this.#gone()
  }

  #gone(): void {
    if (this.#closed) return
    this.#closed = true
    this.#broken = !this.#ended
    this.#ended = true
    unwatch(this)
    this.#wakeReader()
    this.#wakeWriter()
    this.#tellGone()
  }

  #tellGone(): void {
    const tell = this.onGone
    this.onGone = undefined
    tell?.()
  }

  #wakeReader(): void {
    const wake = this.#reader
    this.#reader = undefined
    wake?.()
  }

  #wakeWriter(): void {
    const wake = this.#writer
    this.#writer = undefined
    wake?.()
  }
}

function both(first: (() => void) | undefined, second: () => void): () => void {
  if (first === undefined) return second
  return () => {
    first()
    second()
  }
}
