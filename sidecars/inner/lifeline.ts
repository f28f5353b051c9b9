/**
 * inner's end of the lifeline. It connects before the agent exists. When init restarts, the connection is made again:
 * the gateway then is empty and refuses everything until the host loads it, while the agent lives on.
 */
import { createConnection, type Socket } from "node:net"
import { type FromInner, LIFELINE_LINE_MAX, type ToInner } from "../../src/policy/wire/lifeline.ts"
import { readLines } from "../../src/runtime/lines.ts"

/** How long init may take to listen at first, and the pause between tries, in milliseconds. */
const FIRST_WITHIN_MS = 30_000
const RETRY_AFTER_MS = 20
/** Pause between tries once the gateway was lost: nobody waits for these, in milliseconds. */
const LOST_RETRY_MS = 1000

export class Lifeline {
  readonly #path: string
  #socket: Socket
  #closing = false

  private constructor(path: string, socket: Socket) {
    this.#path = path
    this.#socket = socket
  }

  /** Connects and says hello. Throws when init does not listen in time. */
  static async connect(path: string): Promise<Lifeline> {
    const deadline = Date.now() + FIRST_WITHIN_MS
    for (;;) {
      const socket = await tryConnect(path)
      if (socket !== undefined) return new Lifeline(path, greet(socket))
      if (Date.now() > deadline) throw new Error("the gateway does not answer")
      await pause(RETRY_AFTER_MS)
    }
  }

  /** What init says, over as many connections as it takes; `lost` is called for each one that ends. */
  async *messages(lost: () => void): AsyncGenerator<ToInner> {
    while (!this.#closing) {
      try {
        for await (const line of readLines(this.#socket, LIFELINE_LINE_MAX)) yield JSON.parse(line) as ToInner
      } catch {
        // A broken connection is the same as an ended one: connect again.
      }
      this.#socket.destroy()
      if (!this.#closing) lost()
      while (!this.#closing && this.#socket.destroyed) {
        await pause(LOST_RETRY_MS)
        const socket = await tryConnect(this.#path)
        if (socket !== undefined) this.#socket = greet(socket)
      }
    }
  }

  send(message: FromInner): void {
    if (!this.#socket.destroyed) this.#socket.write(`${JSON.stringify(message)}\n`)
  }

  /** Ends the connection after what was sent has left. */
  async close(): Promise<void> {
    this.#closing = true
    if (this.#socket.destroyed) return
    await new Promise<void>((done) => this.#socket.end(() => done()))
  }
}

function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection({ path })
    socket.once("connect", () => resolve(socket))
    socket.on("error", () => resolve(undefined))
  })
}

function greet(socket: Socket): Socket {
  socket.write(`${JSON.stringify({ type: "hello", version: 1 } satisfies FromInner)}\n`)
  return socket
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}
