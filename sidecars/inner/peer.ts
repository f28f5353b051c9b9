/** One session's connection to the host: frames both ways, with bounded memory for one that does not read. */
import { createConnection, type Socket } from "node:net"
import { encodeBytes, encodeFrame, type Frame, FrameReader } from "../../src/policy/wire/session.ts"

/** Bytes that may wait for the host before it counts as behind. */
const BEHIND_BYTES = 1024 * 1024

export interface PeerEvents {
  frame(frame: Frame): void
  /** The host left */
  gone(): void
}

export class Peer {
  readonly #socket: Socket
  #events: PeerEvents | undefined
  #early: Frame[] = []
  #gone = false

  private constructor(socket: Socket) {
    this.#socket = socket
    const reader = new FrameReader()
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) {
          if (this.#events === undefined) this.#early.push(frame)
          else this.#events.frame(frame)
        }
      } catch {
        // Not what was agreed: whoever it is, it is not our host.
        socket.destroy()
      }
    })
    const gone = () => {
      if (this.#gone) return
      this.#gone = true
      this.#events?.gone()
    }
    socket.on("error", () => {})
    socket.on("end", gone)
    socket.on("close", gone)
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

  /** Hands over what came and what comes. */
  listen(events: PeerEvents): void {
    this.#events = events
    for (const frame of this.#early.splice(0)) events.frame(frame)
    if (this.#gone) events.gone()
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
    if (this.#gone || this.#socket.destroyed) return
    for (const frame of encodeBytes(kind, bytes)) this.#socket.write(frame)
  }

  tell(kind: number, value?: unknown): void {
    if (this.#gone || this.#socket.destroyed) return
    this.#socket.write(encodeFrame(kind, value === undefined ? "" : JSON.stringify(value)))
  }

  /** Stops reading what the host sends, and goes on. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Resolves when all that was sent has left, or the host is gone. */
  async end(): Promise<void> {
    if (this.#socket.destroyed) return
    await new Promise<void>((done) => {
      this.#socket.once("close", () => done())
      this.#socket.end(() => done())
    })
  }
}
