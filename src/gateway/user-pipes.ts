/** The user's plain streams as one end of a session: bytes as they are, no faster than either side takes them. */
import type { Socket } from "node:net"
import type { Readable } from "node:stream"
import { TerminalFilter } from "../policy/terminal/filter.ts"
import type { TerminalSize } from "../policy/wire/session.ts"
import { plainInput } from "../runtime/input.ts"
import type { SessionClient, SessionEvents } from "./session-client.ts"
import type { UserStreams } from "./user-streams.ts"

export class UserPipes implements UserStreams {
  readonly #withInput: boolean
  readonly #left = Promise.withResolvers<"left">()
  readonly #outputs = [new Output(process.stdout), new Output(process.stderr)] as const
  #session: SessionClient | undefined
  /** Absent until the program has it */
  #input: Readable | undefined

  constructor({ input }: { input: boolean }) {
    this.#withInput = input
  }

  readonly events: SessionEvents = {
    output: (chunk) => this.#pass(chunk, this.#outputs[0]),
    errors: (chunk) => this.#pass(chunk, this.#outputs[1]),
  }

  size(): TerminalSize {
    throw new Error("plain pipes have no size")
  }

  connect(session: SessionClient): Promise<"left"> {
    this.#session = session
    if (this.#full) session.pause()
    process.stdout.on("error", this.#onBroken)
    if (this.#withInput) {
      const input = plainInput()
      this.#input = input
      input.on("data", this.#onInput)
      input.once("end", this.#onEnd)
      // A stdin that was closed before we began has no more to give.
      input.once("error", this.#onEnd)
    }
    return this.#left.promise
  }

  async restore(): Promise<void> {
    const input = this.#input
    if (input === undefined) return
    input.off("data", this.#onInput)
    input.off("end", this.#onEnd)
    input.pause()
    // A file has nothing to let go of.
    ;(input as Partial<Pick<Socket, "unref">>).unref?.()
  }

  readonly #onInput = (chunk: Buffer) => {
    const session = this.#session
    if (session === undefined || session.write(chunk)) return
    this.#input?.pause()
    session.onceDrained(() => this.#input?.resume())
  }

  readonly #onEnd = () => this.#session?.endInput()

  /** EPIPE: whoever read our output has gone, as in `bottle exec dev-k3x9a -- yes | head`. */
  readonly #onBroken = () => this.#left.resolve("left")

  #pass(chunk: Uint8Array, to: Output): void {
    to.write(chunk, () => {
      if (!this.#full) this.#session?.resume()
    })
    if (this.#full) this.#session?.pause()
  }

  /** One connection has both streams, so it waits for the slower one. */
  get #full(): boolean {
    return this.#outputs.some((output) => output.full)
  }
}

class Output {
  readonly #stream: NodeJS.WriteStream
  /** A person's terminal gets what a sandbox writes filtered; a file or a pipe gets it as it is */
  readonly #filter: TerminalFilter | undefined
  full = false

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
    this.#filter = stream.isTTY ? new TerminalFilter({ allow: new Set() }) : undefined
  }

  write(chunk: Uint8Array, drained: () => void): void {
    const bytes = this.#filter?.push(chunk) ?? chunk
    if (bytes.length === 0 || this.#stream.write(bytes) || this.full) return
    this.full = true
    this.#stream.once("drain", () => {
      this.full = false
      drained()
    })
  }
}
