/** One session's connection to the host: frames both ways, with bounded memory for one that does not read. */
import { createConnection, type Socket } from "node:net"
import {
  encodeBytes,
  encodeFrame,
  FRAME,
  type Frame,
  FrameReader,
  INPUT_WINDOW,
} from "../../src/policy/wire/session.ts"

/** Bytes that may wait for the host before it counts as behind. */
const BEHIND_BYTES = 1024 * 1024
/** Input that may wait for its program, in bytes: the window, and what the host's last write is over it. */
const AHEAD_MAX = 2 * INPUT_WINDOW

export interface PeerEvents {
  /** Each `input` is to be answered by `taken`, now or later */
  frame(frame: Frame): void
  /** The host left */
  gone(): void
}

export class Peer {
  readonly #socket: Socket
  /** Input that is not taken yet, in bytes */
  #ahead = 0
  #gone = false

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on("error", () => {})
    socket.on("close", () => {
      this.#gone = true
    })
  }

  /** Connects and shows the token. Throws when nobody listens. */
  static connect(path: string, token: string): Promise<Peer> {
    return new Promise((resolve, reject) => {
      const socket = createConnection({ path, allowHalfOpen: true })
      socket.once("error", reject)
      socket.once("connect", () => {
        socket.off("error", reject)
        socket.write(`${JSON.stringify({ token })}\n`)
        resolve(new Peer(socket))
      })
    })
  }

  /** Hands over what came and what comes; until then it waits in the kernel. */
  listen({ frame: take, gone }: PeerEvents): void {
    const reader = new FrameReader()
    this.#socket.on("data", (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) {
          if (frame.kind === FRAME.input) this.#count(frame.payload.length)
          take(frame)
        }
      } catch {
        // Not what was agreed: whoever it is, it is not our host.
        this.#socket.destroy()
      }
    })
    // The host ends its side only when it leaves.
    this.#socket.once("end", () => this.#socket.destroy())
    if (this.#gone) gone()
    else this.#socket.once("close", gone)
  }

  /** Tells the host that so many bytes of its input are the program's now: it may send as many more. */
  taken(bytes: number): void {
    this.#ahead -= bytes
    this.tell(FRAME.taken, { bytes })
  }

  /** True when more waits for the host than may. */
  get behind(): boolean {
    return this.#socket.writableLength > BEHIND_BYTES
  }

  /** Calls back once, when all that waited has left. */
  onceDrained(action: () => void): void {
    if (this.#socket.writableNeedDrain) this.#socket.once("drain", action)
    else setImmediate(action)
  }

  send(kind: number, bytes: Uint8Array): void {
    if (!this.#open) return
    for (const frame of encodeBytes(kind, bytes)) this.#socket.write(frame)
  }

  tell(kind: number, value?: unknown): void {
    if (!this.#open) return
    this.#socket.write(encodeFrame(kind, value === undefined ? "" : JSON.stringify(value)))
  }

  /** Resolves when all that was sent has left, or the host is gone. */
  async end(): Promise<void> {
    if (this.#socket.destroyed) return
    await new Promise<void>((done) => {
      this.#socket.once("close", () => done())
      this.#socket.end(() => done())
    })
  }

  get #open(): boolean {
    return !this.#gone && !this.#socket.destroyed && !this.#socket.writableEnded
  }

  #count(bytes: number): void {
    this.#ahead += bytes
    if (this.#ahead > AHEAD_MAX) throw new RangeError("more input than was agreed")
  }
}
