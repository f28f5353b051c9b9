/**
 * Brings a session's two ends together: the host asks for it, inner connects for it. The socket lies where the agent
 * sees it too, so a connection counts only with the token that inner was given over the lifeline.
 */
import { randomBytes, timingSafeEqual } from "node:crypto"
import { chmodSync, rmSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { sessionHello } from "../../src/policy/wire/session.ts"

/** inner connects, and shows its token, within this, in milliseconds. */
const JOIN_MS = 10_000
/**
 * Connections that have shown no token yet. inner shows its own at once, and the agent has none to show: of more, the
 * one that has said nothing for longest is closed, so that no number of them keeps inner out.
 */
const UNKNOWN_MAX = 32
/** Sessions at once: fewer than the control socket takes connections, so that there is room left for a `stop`. */
const SESSIONS_MAX = 24
/** Longest first line, in bytes. */
const HELLO_MAX = 256

interface Awaited {
  token: string
  resolve(socket: Socket): void
}

export class SessionBroker implements Disposable {
  readonly #path: string
  readonly #server: Server
  readonly #joined = new Set<Socket>()
  /** Those without a token, the oldest first */
  readonly #unknown = new Set<Socket>()
  #awaited: Awaited[] = []

  constructor(path: string) {
    this.#path = path
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket))
  }

  /** Rejects when the socket cannot be made. */
  listen(): Promise<void> {
    rmSync(this.#path, { force: true })
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject)
      this.#server.listen(this.#path, () => {
        chmodSync(this.#path, 0o666)
        resolve()
      })
    })
  }

  /** Asks inner, by `ask` with a new token, and waits for its connection. Throws when it does not come, or there are too many. */
  async open(ask: (token: string) => boolean): Promise<Socket> {
    if (this.#joined.size + this.#awaited.length >= SESSIONS_MAX) {
      throw new Error(`it has ${SESSIONS_MAX} sessions already, and no more at once`)
    }
    const token = randomBytes(16).toString("hex")
    const { promise, resolve, reject } = Promise.withResolvers<Socket>()
    const awaited: Awaited = { token, resolve }
    this.#awaited.push(awaited)
    const timer = setTimeout(() => reject(new Error("the sandbox did not join the session in time")), JOIN_MS)
    try {
      if (!ask(token)) throw new Error("the sandbox is not connected to its gateway")
      return await promise
    } finally {
      clearTimeout(timer)
      this.#awaited = this.#awaited.filter((other) => other !== awaited)
    }
  }

  #accept(socket: Socket): void {
    socket.on("error", () => {})
    this.#unknown.add(socket)
    if (this.#unknown.size > UNKNOWN_MAX) this.#dropOldest()
    let held = Buffer.alloc(0)
    const timer = setTimeout(() => drop(), JOIN_MS)
    const settle = () => {
      clearTimeout(timer)
      socket.off("data", read)
      socket.off("close", settle)
      socket.off("end", drop)
      this.#unknown.delete(socket)
    }
    // Half of it stays open otherwise, and counts.
    const drop = () => socket.destroy()
    const read = (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      const end = held.indexOf(10)
      if (end < 0 && held.length <= HELLO_MAX) return
      settle()
      const awaited = end < 0 ? undefined : this.#match(held.subarray(0, end))
      if (awaited === undefined) {
        socket.destroy()
        return
      }
      socket.pause()
      const rest = held.subarray(end + 1)
      if (rest.length > 0) socket.unshift(rest)
      this.#joined.add(socket)
      socket.once("close", () => this.#joined.delete(socket))
      awaited.resolve(socket)
    }
    socket.on("data", read)
    socket.once("end", drop)
    socket.once("close", settle)
  }

  #dropOldest(): void {
    const [oldest] = this.#unknown
    if (oldest === undefined) return
    this.#unknown.delete(oldest)
    oldest.destroy()
  }

  #match(line: Buffer): Awaited | undefined {
    let token: string
    try {
      token = sessionHello().parse(JSON.parse(line.toString())).token
    } catch {
      return undefined
    }
    return this.#awaited.find((other) => equal(other.token, token))
  }

  [Symbol.dispose](): void {
    this.#server.close()
    rmSync(this.#path, { force: true })
    for (const socket of this.#unknown) socket.destroy()
    for (const socket of this.#joined) socket.destroySoon()
  }
}

/** The second is whoever's: of as many characters it can still have more bytes, which timingSafeEqual throws for. */
function equal(token: string, shown: string): boolean {
  const [a, b] = [Buffer.from(token), Buffer.from(shown)]
  return a.length === b.length && timingSafeEqual(a, b)
}
