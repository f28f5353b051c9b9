/**
 * A session: the standard streams of the agent, or of a command run beside it, between the host program and inner.
 * The host asks over a control connection (`attach`, `exec`); init answers `joined` and from then on passes bytes
 * between that connection and one that inner makes, in frames: one byte of kind, four of length (big endian), payload.
 * inner always reads, so that a signal is never stuck behind input that nobody takes: the host sends no more input than
 * INPUT_WINDOW ahead of what inner has told to be taken (the window of RFC 4254, section 5.2).
 */
import * as z from "zod/mini"
import { once } from "../lazy.ts"

/** Kinds of frames; those to inner are below 16. */
export const FRAME = {
  /** Bytes for stdin */
  input: 0,
  /** stdin has ended */
  inputEnd: 1,
  /** JSON of `terminalSize` */
  resize: 2,
  /** JSON of `sessionSignal` */
  signal: 3,
  output: 16,
  errors: 17,
  /** The program runs: from here on the terminal is its own */
  begun: 18,
  /** JSON of `sessionExit`; the last frame */
  exit: 19,
  /** JSON of `sessionFault`: there is no such program; the last frame */
  fault: 20,
  /** JSON of `sessionTaken`: the program has taken that much of its input */
  taken: 21,
  /** What follows shows the screen from its beginning: it is meant for a terminal in its own state */
  screen: 22,
} as const

/** Longest payload of a frame, in bytes. */
export const FRAME_MAX = 256 * 1024
/** Input that the host may send ahead, in bytes: enough to fill any pipe between the two ends. */
export const INPUT_WINDOW = 1024 * 1024
/** Longest command that a session runs, all arguments together, in bytes; in JSON a byte can take six */
export const COMMAND_MAX = 512 * 1024
const HEAD = 5

export const terminalSize = once(() =>
  z.strictObject({
    rows: z.int().check(z.gte(1), z.lte(4096)),
    columns: z.int().check(z.gte(1), z.lte(4096)),
  }),
)

export const sessionSignal = once(() =>
  z.strictObject({
    signal: z.enum(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]),
  }),
)

export const sessionExit = once(() =>
  z.strictObject({
    /** Status of the program, or 128 plus the signal's number */
    code: z.int().check(z.gte(0), z.lte(255)),
    /** True when it was ended because the bottle's agent had ended */
    agent_ended: z.optional(z.boolean()),
  }),
)

export const sessionFault = once(() =>
  z.strictObject({
    /** Why the program could not be started, for people */
    reason: z.string().check(z.maxLength(1024)),
    /** What a shell would leave with: 127 where there is no such program, 126 for one that cannot run */
    code: z.optional(z.int().check(z.gte(126), z.lte(127))),
  }),
)

export const sessionTaken = once(() =>
  z.strictObject({
    /** Input that is the program's now, in bytes since it was told last */
    bytes: z.int().check(z.gte(0)),
  }),
)

/** First line that inner writes on its connection: proves that it was asked. */
export const sessionHello = once(() => z.strictObject({ token: z.string().check(z.maxLength(64)) }))

export type TerminalSize = z.infer<ReturnType<typeof terminalSize>>
export type SessionExit = z.infer<ReturnType<typeof sessionExit>>

export interface Frame {
  kind: number
  payload: Buffer
}

/** One frame as bytes. A payload beyond FRAME_MAX is the caller's fault. */
export function encodeFrame(kind: number, payload: Uint8Array | string = ""): Buffer {
  const body = typeof payload === "string" ? Buffer.from(payload) : payload
  if (body.length > FRAME_MAX) throw new RangeError(`a frame of ${body.length} bytes`)
  const frame = Buffer.allocUnsafe(HEAD + body.length)
  frame[0] = kind
  frame.writeUInt32BE(body.length, 1)
  frame.set(body, HEAD)
  return frame
}

/** Frames for bytes of any length. */
export function* encodeBytes(kind: number, bytes: Uint8Array): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += FRAME_MAX) {
    yield encodeFrame(kind, bytes.subarray(at, at + FRAME_MAX))
  }
}

/** Takes frames out of a stream of bytes, cut anywhere. Throws RangeError for one that is longer than agreed. */
export class FrameReader {
  #parts: Buffer[] = []
  #held = 0

  push(chunk: Buffer): Frame[] {
    this.#parts.push(chunk)
    this.#held += chunk.length
    const frames: Frame[] = []
    while (this.#held >= HEAD) {
      const head = this.#peek(HEAD)
      const length = head.readUInt32BE(1)
      if (length > FRAME_MAX) throw new RangeError(`a frame of ${length} bytes`)
      if (this.#held < HEAD + length) break
      const frame = this.#take(HEAD + length)
      frames.push({ kind: frame[0] ?? 0, payload: frame.subarray(HEAD) })
    }
    return frames
  }

  #peek(count: number): Buffer {
    if ((this.#parts[0]?.length ?? 0) < count) this.#parts = [Buffer.concat(this.#parts)]
    return this.#parts[0] ?? Buffer.alloc(0)
  }

  #take(count: number): Buffer {
    const all = this.#peek(count)
    const rest = all.subarray(count)
    if (rest.length === 0) this.#parts.shift()
    else this.#parts[0] = rest
    this.#held -= count
    return all.subarray(0, count)
  }
}

/** The JSON of a frame's payload, checked. Throws for anything else. */
export function parsePayload<T>(schema: () => z.ZodMiniType<T>, payload: Buffer): T {
  return schema().parse(JSON.parse(payload.toString()))
}
