/** The user's terminal as one end of a session: the program's own from its first moment on, and given back sane. */
import { TerminalFilter } from "../policy/terminal/filter.ts"
import { TerminalModes } from "../policy/terminal/modes.ts"
import type { TerminalSize } from "../policy/wire/session.ts"
import type { SessionClient, SessionEvents } from "./session-client.ts"
import type { UserStreams } from "./user-streams.ts"

/** The key that begins a detach, and the one that completes it: ctrl-\ d. */
const PREFIX = 0x1c
const DETACH = 0x64
/** Time in which the second key must follow, in milliseconds; later the first one was meant for the program. */
const SECOND_KEY_MS = 1000
/** A window that tells no size, and the largest side that counts. */
const SIZE: TerminalSize = { rows: 24, columns: 80 }
const SIDE_MAX = 4096

export class UserTerminal implements UserStreams {
  readonly #detach: boolean
  readonly #filter = new TerminalFilter({ allow: new Set() })
  readonly #modes = new TerminalModes()
  readonly #left = Promise.withResolvers<"left">()
  #session: SessionClient | undefined
  #raw = false
  /** Waits for the key after the prefix */
  #prefix: NodeJS.Timeout | undefined

  /** With `detach` the two keys leave the program; without, they are keys like any other. */
  constructor({ detach }: { detach: boolean }) {
    this.#detach = detach
  }

  readonly events: SessionEvents = {
    begun: () => this.#takeOver(),
    output: (chunk) => this.#write(chunk),
  }

  size(): TerminalSize {
    const { rows, columns } = process.stdout
    return rows && columns ? { rows: Math.min(rows, SIDE_MAX), columns: Math.min(columns, SIDE_MAX) } : SIZE
  }

  connect(session: SessionClient): Promise<"left"> {
    this.#session = session
    process.on("SIGWINCH", this.#onResize)
    process.stdin.on("data", this.#onKeys)
    if (!this.#raw) process.stdin.pause()
    else process.stdin.resume()
    return this.#left.promise
  }

  async restore(): Promise<void> {
    process.off("SIGWINCH", this.#onResize)
    process.stdin.off("data", this.#onKeys)
    clearTimeout(this.#prefix)
    if (!this.#raw) return
    this.#raw = false
    process.stdout.write(this.#modes.reset())
    process.stdin.setRawMode(false)
    process.stdin.pause()
    process.stdin.unref()
  }

  #takeOver(): void {
    if (this.#raw || !process.stdin.isTTY) return
    this.#raw = true
    process.stdin.setRawMode(true)
    process.stdin.resume()
    // It may have changed since it was told.
    this.#session?.resize(this.size())
  }

  #write(chunk: Uint8Array): void {
    const shown = this.#filter.push(chunk)
    this.#modes.push(shown)
    if (shown.length > 0 && !process.stdout.write(shown)) {
      this.#session?.pause()
      process.stdout.once("drain", () => this.#session?.resume())
    }
  }

  readonly #onResize = () => this.#session?.resize(this.size())

  readonly #onKeys = (keys: Buffer) => {
    if (!this.#detach) {
      this.#type(keys)
      return
    }
    let from = 0
    for (let at = 0; at < keys.length; at += 1) {
      const key = keys[at]
      if (this.#prefix !== undefined) {
        this.#endPrefix()
        if (key === DETACH) {
          this.#left.resolve("left")
          return
        }
        this.#type(Buffer.of(PREFIX))
      }
      if (key === PREFIX) {
        this.#type(keys.subarray(from, at))
        from = at + 1
        this.#prefix = setTimeout(() => {
          this.#endPrefix()
          this.#type(Buffer.of(PREFIX))
        }, SECOND_KEY_MS)
      }
    }
    this.#type(keys.subarray(from))
  }

  #endPrefix(): void {
    clearTimeout(this.#prefix)
    this.#prefix = undefined
  }

  #type(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#session === undefined || this.#session.write(bytes)) return
    process.stdin.pause()
    this.#session.onceDrained(() => process.stdin.resume())
  }
}
