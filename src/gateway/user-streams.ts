/**
 * The user's own streams as one end of a session: a terminal that belongs to the program from its first moment on and is
 * given back sane, or plain pipes.
 */
import { TerminalFilter } from "../policy/terminal/filter.ts"
import { TerminalModes } from "../policy/terminal/modes.ts"
import type { TerminalSize } from "../policy/wire/session.ts"
import type { SessionClient, SessionEvents } from "./session-client.ts"

/** The key that begins a detach, and the one that completes it: ctrl-\ d. */
const PREFIX = 0x1c
const DETACH = 0x64
/** Time in which the second key must follow, in milliseconds; later the first one was meant for the program. */
const SECOND_KEY_MS = 1000

export interface UserStreams {
  events: SessionEvents
  size(): TerminalSize
  /** Carries input to the program; resolves with `left` when the user detaches, otherwise never */
  connect(session: SessionClient): Promise<"left">
  /** Gives the terminal back */
  restore(): Promise<void>
}

export function userStreams(mode: "terminal" | "task"): UserStreams {
  return mode === "terminal" ? new UserTerminal() : new UserPipes(false)
}

/** For a command that the user runs beside the agent, with the user's own input. */
export function userPipes(): UserStreams {
  return new UserPipes(true)
}

const SIZE: TerminalSize = { rows: 24, columns: 80 }

function windowSize(): TerminalSize {
  const { rows, columns } = process.stdout
  return rows && columns ? { rows: Math.min(rows, 4096), columns: Math.min(columns, 4096) } : SIZE
}

class UserTerminal implements UserStreams {
  readonly #filter = new TerminalFilter({ allow: new Set() })
  readonly #modes = new TerminalModes()
  readonly #left = Promise.withResolvers<"left">()
  #session: SessionClient | undefined
  #raw = false
  /** Waits for the key after the prefix */
  #prefix: NodeJS.Timeout | undefined

  readonly events: SessionEvents = {
    begun: () => this.#takeOver(),
    output: (chunk) => this.#write(chunk),
  }

  size(): TerminalSize {
    return windowSize()
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
    this.#session?.resize(windowSize())
  }

  #write(chunk: Uint8Array): void {
    const shown = this.#filter.push(chunk)
    this.#modes.push(shown)
    if (shown.length > 0 && !process.stdout.write(shown)) {
      this.#session?.pause()
      process.stdout.once("drain", () => this.#session?.resume())
    }
  }

  readonly #onResize = () => this.#session?.resize(windowSize())

  readonly #onKeys = (keys: Buffer) => {
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

class UserPipes implements UserStreams {
  readonly #withInput: boolean
  #session: SessionClient | undefined
  #onInput: ((chunk: Buffer) => void) | undefined
  #onEnd: (() => void) | undefined

  constructor(withInput: boolean) {
    this.#withInput = withInput
  }

  readonly events: SessionEvents = {
    output: (chunk) => this.#pass(chunk, process.stdout),
    errors: (chunk) => this.#pass(chunk, process.stderr),
  }

  size(): TerminalSize {
    return SIZE
  }

  connect(session: SessionClient): Promise<"left"> {
    this.#session = session
    if (this.#withInput) {
      this.#onInput = (chunk) => {
        if (session.write(chunk)) return
        process.stdin.pause()
        session.onceDrained(() => process.stdin.resume())
      }
      this.#onEnd = () => session.endInput()
      process.stdin.on("data", this.#onInput)
      process.stdin.once("end", this.#onEnd)
    }
    return new Promise(() => {})
  }

  async restore(): Promise<void> {
    if (this.#onInput !== undefined) process.stdin.off("data", this.#onInput)
    if (this.#onEnd !== undefined) process.stdin.off("end", this.#onEnd)
    if (this.#withInput) {
      process.stdin.pause()
      process.stdin.unref()
    }
  }

  #pass(chunk: Uint8Array, to: NodeJS.WriteStream): void {
    if (to.write(chunk)) return
    this.#session?.pause()
    to.once("drain", () => this.#session?.resume())
  }
}
