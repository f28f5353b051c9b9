/**
 * How the host program starts other programs: captured (`run`), on the user's own terminal (`spawnInherit`), or
 * with open pipes (`spawnStreaming`). All three take an argv, never a shell line, and name a missing tool.
 */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { constants } from "node:os"
import { Readable, type Writable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { BottleError } from "./error.ts"

/** Bytes kept of each output stream by `run`; more is a fault of the tool, not something to hold in memory */
export const CAPTURE_LIMIT = 16 * 1024 * 1024
/** Milliseconds between the polite signal and SIGKILL */
const KILL_GRACE_MS = 5_000

export interface SpawnRequest {
  /** Whole environment of the child; absent inherits ours */
  env?: Record<string, string | undefined>
  /** Working directory of the child, absolute */
  cwd?: string
  /** Ends the child when aborted */
  signal?: AbortSignal
  /** Numeric user and group the child runs as, for root alone; absent is ours */
  as?: { uid: number; gid: number }
}

export interface RunRequest extends SpawnRequest {
  /** Bytes for the child's stdin, which is empty otherwise */
  input?: string | Uint8Array | Readable
  /** Time the child may take, in milliseconds; absent is unbounded */
  timeoutMs?: number
  /** Time between the polite signal and SIGKILL, in milliseconds; 0 for a program that has nothing to tidy up */
  killGraceMs?: number
}

export interface RunResult {
  /** Exit status, or 128 plus the signal's number */
  code: number
  stdout: string
  stderr: string
}

export interface StreamingProcess {
  pid: number
  stdin: Writable
  stdout: Readable
  stderr: Readable
  /** Exit status, or 128 plus the signal's number; rejects when the tool is missing */
  exited: Promise<number>
  /** Sends SIGTERM, then SIGKILL after a grace period */
  stop(): void
  /** Stops the child and waits for its end */
  [Symbol.asyncDispose](): Promise<void>
}

/** The end of a text, for messages that quote a failing tool. */
export function lastLines(text: string, count = 20): string {
  return text
    .trimEnd()
    .split(/\r?\n|\r/)
    .slice(-count)
    .join("\n")
}

/** Runs a program to its end and hands back what it wrote. A status other than 0 is the caller's to judge. */
export async function run(argv: readonly string[], request: RunRequest = {}): Promise<RunResult> {
  const child = start(argv, request, { stdio: ["pipe", "pipe", "pipe"] })
  const exited = exitOf(child, argv, request)
  const stopper = new Stopper(child, request.killGraceMs)
  let tooMuch = false
  const overflow = () => {
    tooMuch = true
    stopper.stop()
  }
  const stdout = capture(child.stdout!, overflow)
  const stderr = capture(child.stderr!, overflow)
  const fed = feed(child.stdin!, request.input)

  let late = false
  const timer =
    request.timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          late = true
          giveUp()
        }, request.timeoutMs)
  const giveUp = () => {
    stopper.stop()
    // The child may be gone, and something that it left behind may hold its pipes.
    if (child.exitCode !== null || child.signalCode !== null) destroyPipes(child)
  }
  const unlisten = onAbort(request.signal, giveUp)
  let code: number
  let faultOfInput: unknown
  try {
    code = await exited
    // A grandchild may hold the pipes open after the child was killed: nothing is owed to it.
    if (stopper.stopped) destroyPipes(child)
    faultOfInput = await fed
    await Promise.all([stdout.ended, stderr.ended])
  } finally {
    clearTimeout(timer)
    stopper.clear()
    unlisten()
  }
  const tool = argv[0]!
  const quoted = lastLines(stderr.text())
  if (request.signal?.aborted) throw interrupted(tool, request.signal)
  if (late) {
    throw new BottleError({
      what: `${shown(argv)} did not end within ${Math.ceil(request.timeoutMs! / 1000)} s`,
      why: quoted,
      next: `See why \`${tool}\` hangs, then try again`,
    })
  }
  if (tooMuch) {
    throw new BottleError({
      what: `${shown(argv)} wrote more than ${CAPTURE_LIMIT / 1024 / 1024} MiB`,
      why: quoted,
      next: `Run it by hand to see what it prints`,
    })
  }
  if (faultOfInput !== undefined) throw faultOfInput
  return { code, stdout: stdout.text(), stderr: stderr.text() }
}

export interface SignalsOfItsOwn {
  /** Out of reach of the keys that the terminal turns into signals: those are for its parent to pass on */
  ownSession?: boolean
  /** What ends it when aborted, for a program that would pass SIGTERM on; absent is SIGTERM, then SIGKILL */
  endBy?: "SIGKILL"
}

/** Runs a program on the user's own terminal and hands back its exit status. */
export async function spawnInherit(
  argv: readonly string[],
  request: SpawnRequest & SignalsOfItsOwn = {},
): Promise<number> {
  const child = start(argv, request, { stdio: "inherit", detached: request.ownSession === true })
  const stopper = new Stopper(child, undefined, request.endBy)
  const unlisten = onAbort(request.signal, () => stopper.stop())
  try {
    const code = await exitOf(child, argv, request)
    if (request.signal?.aborted) throw interrupted(argv[0]!, request.signal)
    return code
  } finally {
    stopper.clear()
    unlisten()
  }
}

/** Starts a program with open pipes; whoever starts it ends it, best by `await using`. */
export function spawnStreaming(
  argv: readonly string[],
  request: SpawnRequest & SignalsOfItsOwn = {},
): StreamingProcess {
  const child = start(argv, request, {
    stdio: ["pipe", "pipe", "pipe"],
    detached: request.ownSession === true,
  })
  const stopper = new Stopper(child, undefined, request.endBy)
  const unlisten = onAbort(request.signal, () => stopper.stop())
  const exited = exitOf(child, argv, request).finally(() => {
    stopper.clear()
    unlisten()
  })
  // Whoever does not wait for the end must not die of it: `exited` still rejects for those who do.
  exited.catch(() => {})
  child.stdin!.on("error", () => {})
  return {
    pid: child.pid ?? -1,
    stdin: child.stdin!,
    stdout: child.stdout!,
    stderr: child.stderr!,
    exited,
    stop: () => stopper.stop(),
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) stopper.stop()
      await exited.catch(() => {})
      destroyPipes(child)
    },
  }
}

function start(argv: readonly string[], request: SpawnRequest, options: SpawnOptions): ChildProcess {
  const [tool, ...args] = argv
  if (tool === undefined) throw new BottleError({ what: "cannot start a program without a name" })
  if (request.signal?.aborted) throw interrupted(tool, request.signal)
  try {
    return spawn(tool, args, {
      ...options,
      ...(request.cwd === undefined ? {} : { cwd: request.cwd }),
      ...(request.env === undefined ? {} : { env: request.env }),
      ...request.as,
    })
  } catch (error) {
    throw startError(error, argv, request)
  }
}

function exitOf(child: ChildProcess, argv: readonly string[], request: SpawnRequest): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  child.once("error", (error) => reject(startError(error, argv, request)))
  child.once("exit", (code, signal) => resolve(code ?? 128 + (constants.signals[signal!] ?? 0)))
  return promise
}

function startError(error: unknown, argv: readonly string[], request: SpawnRequest): BottleError {
  const tool = argv[0]!
  const code = (error as NodeJS.ErrnoException).code
  if (code === "ENOENT") {
    // The same code stands for a missing working directory, which is another mistake with another cure.
    if (request.cwd !== undefined && !existsSync(request.cwd)) {
      return new BottleError({
        what: `cannot run \`${tool}\` in ${request.cwd}`,
        why: "there is no such folder",
        next: "Give a folder that exists",
        cause: error,
      })
    }
    return new BottleError({
      what: `cannot run \`${tool}\``,
      why: "it is not installed, or not on PATH",
      next: `Install \`${tool}\`, or put its folder on PATH`,
      cause: error,
    })
  }
  return new BottleError({
    what: `cannot run \`${tool}\``,
    why: error instanceof Error ? error.message : String(error),
    next: `See that \`${tool}\` is a program that you may run`,
    cause: error,
  })
}

function interrupted(tool: string, signal: AbortSignal): BottleError {
  if (signal.reason instanceof BottleError) return signal.reason
  if (signal.reason instanceof DOMException && signal.reason.name === "TimeoutError") {
    return new BottleError({
      what: `\`${tool}\` did not answer in time`,
      next: `See why \`${tool}\` hangs, then try again`,
      cause: signal.reason,
    })
  }
  return new BottleError({ what: `interrupted while \`${tool}\` ran`, exitCode: 130, cause: signal.reason })
}

/** The command without its values: the argv of a build can be long, and a message has one line. */
function shown(argv: readonly string[]): string {
  return `\`${argv.slice(0, 3).join(" ")}${argv.length > 3 ? " ..." : ""}\``
}

class Stopper {
  stopped = false
  readonly #child: ChildProcess
  readonly #graceMs: number
  readonly #first: NodeJS.Signals
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(child: ChildProcess, graceMs = KILL_GRACE_MS, first: NodeJS.Signals = "SIGTERM") {
    this.#child = child
    this.#graceMs = graceMs
    this.#first = first
  }

  stop(): void {
    if (this.stopped) return
    this.stopped = true
    this.#child.kill(this.#first)
    this.#timer = setTimeout(() => this.#child.kill("SIGKILL"), this.#graceMs)
  }

  clear(): void {
    clearTimeout(this.#timer)
  }
}

function onAbort(signal: AbortSignal | undefined, action: () => void): () => void {
  if (signal === undefined) return () => {}
  signal.addEventListener("abort", action, { once: true })
  return () => signal.removeEventListener("abort", action)
}

interface Capture {
  text(): string
  ended: Promise<void>
}

function capture(stream: Readable, overflow: () => void): Capture {
  const chunks: Buffer[] = []
  let size = 0
  stream.on("data", (chunk: Buffer) => {
    if (size > CAPTURE_LIMIT) return
    size += chunk.length
    if (size > CAPTURE_LIMIT) overflow()
    else chunks.push(chunk)
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  stream.once("close", resolve)
  stream.once("end", resolve)
  stream.once("error", () => resolve())
  return { text: () => Buffer.concat(chunks).toString("utf8"), ended: promise }
}

/** Writes the input; the fault of its source is handed back, a child that stops reading is no fault. */
async function feed(stdin: Writable, input: RunRequest["input"]): Promise<unknown> {
  stdin.on("error", () => {})
  if (input === undefined) {
    stdin.end()
    return undefined
  }
  if (!(input instanceof Readable)) {
    stdin.end(input)
    return undefined
  }
  try {
    await pipeline(input, stdin)
    return undefined
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    return code === "EPIPE" || code === "ERR_STREAM_PREMATURE_CLOSE" || code === "ECONNRESET"
      ? undefined
      : error
  }
}

function destroyPipes(child: ChildProcess): void {
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
}
