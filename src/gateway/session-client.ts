/** The host's end of a session: asks a bottle's init for it, then carries bytes between it and the user's streams. */
import type { LedgerHead } from "../policy/ledger.ts"
import {
  CONTROL_LINE_MAX,
  type ControlAnswer,
  type ControlRequest,
  controlAnswer,
} from "../policy/wire/control.ts"
import type { SessionRequest } from "../policy/wire/lifeline.ts"
import {
  encodeBytes,
  encodeFrame,
  FRAME,
  type Frame,
  FrameReader,
  INPUT_WINDOW,
  parsePayload,
  type SessionExit,
  sessionExit,
  sessionFault,
  sessionTaken,
  type TerminalSize,
} from "../policy/wire/session.ts"
import { BottleError } from "../runtime/error.ts"
import type { ControlStreams } from "./control-client.ts"

/** init waits for the sandbox, and then for inner; whoever answers later never does. In milliseconds. */
const ANSWER_WITHIN_MS = 45_000

/** How a session ended. */
export type SessionOutcome =
  /** The program ended with that status; `withAgent`: because the bottle's agent did */
  | { kind: "exited"; code: number; withAgent: boolean }
  /** The connection ended without a word: the bottle is gone, or we left */
  | { kind: "lost" }

export interface SessionEvents {
  /** The program runs: the terminal is its own from here on */
  begun?(): void
  /** What comes next shows the screen from its beginning, for a terminal in its own state */
  screen?(): void
  output(chunk: Uint8Array): void
  errors?(chunk: Uint8Array): void
  /** The ledger's head, as init tells it with its answer */
  head?(head: LedgerHead): void
}

export class SessionClient implements AsyncDisposable {
  readonly #identity: string
  readonly #streams: ControlStreams
  readonly #events: SessionEvents
  readonly #ended = Promise.withResolvers<SessionOutcome>()
  #over = false
  /** Input on its way to the program, in bytes */
  #ahead = 0
  #drained: (() => void) | undefined

  private constructor(identity: string, streams: ControlStreams, events: SessionEvents, early: Buffer) {
    this.#identity = identity
    this.#streams = streams
    this.#events = events
    const reader = new FrameReader()
    const take = (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) if (!this.#over) this.#take(frame)
      } catch (error) {
        this.#end(() => this.#ended.reject(error instanceof BottleError ? error : this.#strange()))
      }
    }
    const lost = () => this.#end(() => this.#ended.resolve({ kind: "lost" }))
    streams.output.on("data", take)
    for (const event of ["end", "close", "error"] as const) streams.output.once(event, lost)
    streams.input.on("drain", () => this.#tellDrained())
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
    const { line, rest } = await firstLine(streams, refuse)
    const answer = parseAnswer(line)
    if (answer === undefined) throw refuse("its gateway answered what this program does not understand")
    events.head?.(answer.head)
    if (answer.type === "joined") return new SessionClient(identity, streams, events, rest)
    throw refuse(answer.type === "error" ? answer.reason : `its gateway answered "${answer.type}"`)
  }

  get ended(): Promise<SessionOutcome> {
    return this.#ended.promise
  }

  /** Bytes for the program. False when they wait: go on after `onceDrained`. */
  write(bytes: Uint8Array): boolean {
    for (const frame of encodeBytes(FRAME.input, bytes)) this.#streams.input.write(frame)
    this.#ahead += bytes.length
    return this.#ready
  }

  /** Calls back once, when there is room for more input. */
  onceDrained(action: () => void): void {
    this.#drained = action
    this.#tellDrained()
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
    this.#end(() => this.#ended.resolve({ kind: "lost" }))
    await this.#streams[Symbol.asyncDispose]()
  }

  get #ready(): boolean {
    return this.#ahead < INPUT_WINDOW && !this.#streams.input.writableNeedDrain
  }

  #tellDrained(): void {
    if (!this.#ready) return
    const action = this.#drained
    this.#drained = undefined
    action?.()
  }

  /** Nothing that comes later counts. */
  #end(settle: () => void): void {
    this.#over = true
    settle()
  }

  #afterFault(code: number | undefined): string {
    if (code === undefined) return `See what it does: bottle log ${this.#identity}`
    if (code === 127) return "Name a program that is there: PATH and files are the sandbox's own"
    return "See that it may run there: its mode, its kind of machine, and the limits of the bottle"
  }

  #strange(): BottleError {
    return new BottleError({
      what: `The session with ${this.#identity} was ended`,
      why: "what came from the sandbox was not what had been agreed",
      next: `Look at what runs in it, or end it: bottle stop ${this.#identity}`,
    })
  }

  /** Frames come from the sandbox: what does not fit ends the session, and kinds that are not known are nothing. */
  #take({ kind, payload }: Frame): void {
    const events = this.#events
    if (kind === FRAME.begun) events.begun?.()
    else if (kind === FRAME.screen) events.screen?.()
    else if (kind === FRAME.output) events.output(payload)
    else if (kind === FRAME.errors) events.errors?.(payload)
    else if (kind === FRAME.taken) {
      this.#ahead = Math.max(0, this.#ahead - parsePayload(sessionTaken, payload).bytes)
      this.#tellDrained()
    } else if (kind === FRAME.exit) {
      const exit: SessionExit = parsePayload(sessionExit, payload)
      const withAgent = exit.agent_ended === true
      this.#end(() => this.#ended.resolve({ kind: "exited", code: exit.code, withAgent }))
    } else if (kind === FRAME.fault) {
      const { reason, code } = parsePayload(sessionFault, payload)
      throw new BottleError({
        what: `Could not ${code === undefined ? "join" : "start the command in"} ${this.#identity}`,
        why: reason,
        next: this.#afterFault(code),
        ...(code === undefined ? {} : { exitCode: code }),
      })
    }
  }
}

function parseAnswer(line: string): ControlAnswer | undefined {
  try {
    return controlAnswer.safeParse(JSON.parse(line)).data
  } catch {
    return undefined
  }
}

/** Reads up to the first newline; what came behind it belongs to what follows. */
function firstLine(
  streams: ControlStreams,
  refuse: (why: string) => Error,
): Promise<{ line: string; rest: Buffer }> {
  const { output } = streams
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let held = 0
    const settle = (action: () => void) => {
      clearTimeout(timer)
      output.off("data", read)
      output.off("end", lost)
      output.off("close", lost)
      output.pause()
      action()
    }
    const fail = (why: string) => settle(() => reject(refuse(why)))
    const lost = () => fail(streams.complaint() || "its gateway ended or does not answer")
    const late = () => fail(`its gateway did not answer within ${ANSWER_WITHIN_MS / 1000} s`)
    const timer = setTimeout(late, ANSWER_WITHIN_MS)
    const read = (chunk: Buffer) => {
      parts.push(chunk)
      held += chunk.length
      if (held > CONTROL_LINE_MAX) return fail("its gateway's answer has no end")
      if (!chunk.includes(10)) return
      const all = Buffer.concat(parts)
      const end = all.indexOf(10)
      settle(() => resolve({ line: all.subarray(0, end).toString(), rest: all.subarray(end + 1) }))
    }
    output.on("data", read)
    output.once("end", lost)
    output.once("close", lost)
  })
}
