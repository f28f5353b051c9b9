/** The host's end of a session: asks a bottle's init for it, then carries bytes between it and the user's streams. */
import { type ControlRequest, controlAnswer } from "../policy/wire/control.ts"
import type { SessionRequest } from "../policy/wire/lifeline.ts"
import {
  encodeBytes,
  encodeFrame,
  FRAME,
  type Frame,
  FrameReader,
  parsePayload,
  sessionExit,
  sessionFault,
  type TerminalSize,
} from "../policy/wire/session.ts"
import { BottleError } from "../runtime/error.ts"
import type { ControlStreams } from "./control-client.ts"

/** How a session ended. */
export type SessionOutcome =
  /** The program ended with that status */
  | { kind: "exited"; code: number }
  /** The connection ended without a word: the bottle is gone, or we left */
  | { kind: "lost" }

export interface SessionEvents {
  /** The program runs: the terminal is its own from here on */
  begun?(): void
  output(chunk: Uint8Array): void
  errors?(chunk: Uint8Array): void
}

export class SessionClient implements AsyncDisposable {
  readonly #streams: ControlStreams
  readonly #ended = Promise.withResolvers<SessionOutcome>()

  private constructor(streams: ControlStreams, events: SessionEvents, early: Buffer) {
    this.#streams = streams
    const reader = new FrameReader()
    const take = (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) this.#take(frame, events)
      } catch (error) {
        this.#ended.reject(error)
      }
    }
    streams.output.on("data", take)
    const lost = () => this.#ended.resolve({ kind: "lost" })
    streams.output.once("end", lost)
    streams.output.once("close", lost)
    streams.output.once("error", lost)
    // A promise that nobody looks at yet is no fault.
    this.#ended.promise.catch(() => {})
    if (early.length > 0) take(early)
    streams.output.resume()
  }

  /** Joins. Throws a BottleError in init's own words when it refuses. */
  static async open(
    identity: string,
    streams: ControlStreams,
    request: SessionRequest,
    events: SessionEvents,
  ): Promise<SessionClient> {
    const refuse = (why: string) =>
      new BottleError({
        what: `Could not join ${identity}`,
        why,
        next: `See what it did: bottle log ${identity}`,
      })
    streams.input.on("error", () => {})
    streams.input.write(`${JSON.stringify({ op: "session", request } satisfies ControlRequest)}\n`)
    const { line, rest } = await firstLine(streams, () =>
      refuse(streams.complaint() || "its gateway ended or does not answer"),
    )
    const answer = controlAnswer.safeParse(JSON.parse(line)).data
    if (answer?.type === "joined") return new SessionClient(streams, events, rest)
    throw refuse(
      answer?.type === "error" ? answer.reason : "its gateway answered what this program does not understand",
    )
  }

  get ended(): Promise<SessionOutcome> {
    return this.#ended.promise
  }

  /** Bytes for the program. False when they wait: go on after `drained`. */
  write(bytes: Uint8Array): boolean {
    let taken = true
    for (const frame of encodeBytes(FRAME.input, bytes)) taken = this.#streams.input.write(frame)
    return taken
  }

  onceDrained(action: () => void): void {
    this.#streams.input.once("drain", action)
  }

  endInput(): void {
    this.#streams.input.write(encodeFrame(FRAME.inputEnd))
  }

  resize(size: TerminalSize): void {
    this.#streams.input.write(encodeFrame(FRAME.resize, JSON.stringify(size)))
  }

  signal(signal: "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT"): void {
    this.#streams.input.write(encodeFrame(FRAME.signal, JSON.stringify({ signal })))
  }

  /** Stops and goes on reading, for a user's stream that is slower than the program. */
  pause(): void {
    this.#streams.output.pause()
  }

  resume(): void {
    this.#streams.output.resume()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.resolve({ kind: "lost" })
    await this.#streams[Symbol.asyncDispose]()
  }

  #take({ kind, payload }: Frame, events: SessionEvents): void {
    if (kind === FRAME.begun) events.begun?.()
    else if (kind === FRAME.output) events.output(payload)
    else if (kind === FRAME.errors) events.errors?.(payload)
    else if (kind === FRAME.exit) {
      this.#ended.resolve({ kind: "exited", code: parsePayload(sessionExit, payload).code })
    } else if (kind === FRAME.fault) {
      throw new BottleError({
        what: "Could not start it in the bottle",
        why: parsePayload(sessionFault, payload).reason,
        next: "Name a program that is there: its PATH and files are the sandbox's own",
        exitCode: 126,
      })
    }
  }
}

/** Reads up to the first newline; what came behind it belongs to what follows. */
function firstLine(streams: ControlStreams, gone: () => Error): Promise<{ line: string; rest: Buffer }> {
  const { output } = streams
  return new Promise((resolve, reject) => {
    let held = Buffer.alloc(0)
    const settle = (action: () => void) => {
      output.off("data", read)
      output.off("end", lost)
      output.off("close", lost)
      output.pause()
      action()
    }
    const lost = () => settle(() => reject(gone()))
    const read = (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      const end = held.indexOf(10)
      if (end < 0) return
      settle(() => resolve({ line: held.subarray(0, end).toString(), rest: held.subarray(end + 1) }))
    }
    output.on("data", read)
    output.once("end", lost)
    output.once("close", lost)
  })
}
