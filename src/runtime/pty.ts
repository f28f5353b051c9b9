/** A program on a terminal of its own: the one place that asks the runtime for a pseudo-terminal. */
import { constants } from "node:os"

export interface PtyRequest {
  /** Whole environment of the program */
  env: Record<string, string>
  /** Working directory, absolute */
  cwd: string
  rows: number
  columns: number
  /** What the program writes; it comes as it comes, because the runtime cannot pause a terminal */
  output(chunk: Uint8Array): void
  /** All that was written to the program has left for its terminal */
  drained?(): void
}

export interface PtyProcess {
  pid: number
  /** Exit status, or 128 plus the signal's number; all output has been handed over by then */
  exited: Promise<number>
  write(bytes: Uint8Array): void
  resize(rows: number, columns: number): void
  signal(name: NodeJS.Signals): void
}

/** Starts a program as the leader of a session whose terminal is a new one. Throws when it cannot be started. */
export function spawnOnPty(argv: string[], request: PtyRequest): PtyProcess {
  const child = Bun.spawn(argv, {
    env: request.env,
    cwd: request.cwd,
    terminal: {
      cols: request.columns,
      rows: request.rows,
      data: (_terminal, chunk) => request.output(chunk),
      // Called after each write, also where nothing had to wait.
      drain: () => request.drained?.(),
    },
  })
  const terminal = child.terminal
  if (terminal === undefined) throw new Error("the runtime gave no terminal")
  const signalOf = () =>
    child.signalCode === null ? 0 : constants.signals[child.signalCode as NodeJS.Signals]
  return {
    pid: child.pid,
    exited: child.exited.then(() => child.exitCode ?? 128 + signalOf()),
    write: (bytes) => {
      if (!terminal.closed) terminal.write(bytes)
    },
    resize: (rows, columns) => {
      if (!terminal.closed) terminal.resize(columns, rows)
    },
    signal: (name) => child.kill(name),
  }
}
