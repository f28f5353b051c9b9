/**
 * init's end of the lifeline. The socket takes one connection and is then closed and unlinked: inner connects before
 * the agent exists, so nothing else of the sandbox can.
 */
import { chmodSync, rmSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { type FromInner, fromInner, LIFELINE_LINE_MAX, type ToInner } from "../../src/policy/wire/lifeline.ts"
import { readLines } from "../../src/runtime/lines.ts"

/** What inner says after it said hello. */
export type InnerAnswer = Exclude<FromInner, { type: "hello" }>

export interface LifelineEvents {
  /** inner has connected and said hello */
  up(): void
  message(message: InnerAnswer): void
  /** The connection is gone: the sandbox ended */
  down(reason: string): void
}

export class Lifeline implements Disposable {
  readonly #path: string
  readonly #events: LifelineEvents
  #server: Server | undefined
  #socket: Socket | undefined

  constructor(path: string, events: LifelineEvents) {
    this.#path = path
    this.#events = events
  }

  get connected(): boolean {
    return this.#socket !== undefined && !this.#socket.destroyed
  }

  /** Waits for inner. Rejects when the socket cannot be made. */
  listen(): Promise<void> {
    rmSync(this.#path, { force: true })
    return new Promise((resolve, reject) => {
      const server = createServer((socket) => this.#accept(socket))
      this.#server = server
      server.once("error", reject)
      server.listen(this.#path, () => {
        chmodSync(this.#path, 0o666)
        resolve()
      })
    })
  }

  /** Sends one message. False when nobody is connected. */
  send(message: ToInner): boolean {
    if (!this.connected) return false
    this.#socket?.write(`${JSON.stringify(message)}\n`)
    return true
  }

  #accept(socket: Socket): void {
    if (this.#socket !== undefined) {
      socket.destroy()
      return
    }
    this.#socket = socket
    this.#close()
    socket.on("error", () => {})
    void this.#read(socket)
  }

  async #read(socket: Socket): Promise<void> {
    let reason = "the sandbox ended"
    try {
      for await (const line of readLines(socket, LIFELINE_LINE_MAX)) {
        const message = fromInner.parse(JSON.parse(line))
        if (message.type === "hello") this.#events.up()
        else this.#events.message(message)
      }
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error)
    }
    socket.destroy()
    this.#events.down(reason)
  }

  #close(): void {
    this.#server?.close()
    rmSync(this.#path, { force: true })
  }

  [Symbol.dispose](): void {
    this.#close()
    this.#socket?.destroy()
  }
}
