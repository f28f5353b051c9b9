/** A person's window: a program on a terminal, and xterm's emulator, which shows what it writes and answers what it asks. */
import { openScreen, type Screen } from "../fixtures/screen.ts"

export interface Window extends AsyncDisposable {
  pid: number
  exited: Promise<number>
  screen: Screen
  /** All that was written to the terminal, one character for each byte */
  written(): string
  /** Waits until the screen shows the text */
  shows(text: string): Promise<void>
  /** Waits until something holds after something was written */
  until(what: string, holds: () => boolean): Promise<void>
  type(text: string): void
  resize(columns: number, rows: number): void
  kill(signal: NodeJS.Signals): void
  /** Hands over the answers that were held back */
  answer(): void
}

export interface WindowOptions {
  cwd: string
  env: Record<string, string>
  columns?: number
  rows?: number
  /** Answers come when `answer` is called, as over a slow line */
  slow?: boolean
  uid?: number
  gid?: number
}

/** Time for something to appear, in milliseconds; only a failing test waits that long */
const APPEAR_MS = 20_000

export function openWindow(argv: string[], options: WindowOptions): Window {
  const { columns = 80, rows = 24, slow = false, ...request } = options
  let written = ""
  let held = ""
  let changed = Promise.withResolvers<void>()
  const screen = openScreen({
    columns,
    rows,
    answer: (text) => {
      if (slow) held += text
      else child.terminal?.write(text)
    },
  })
  const child = Bun.spawn(argv, {
    ...request,
    terminal: {
      cols: columns,
      rows,
      async data(_terminal, data) {
        written += Buffer.from(data).toString("latin1")
        await screen.write(data.slice())
        changed.resolve()
        changed = Promise.withResolvers()
      },
    },
  })
  const window: Window = {
    pid: child.pid,
    exited: child.exited,
    screen,
    written: () => written,
    shows: (text) => window.until(JSON.stringify(text), () => screen.lines().join("\n").includes(text)),
    until: async (what, holds) => {
      const late = Promise.withResolvers<"late">()
      const timer = setTimeout(() => late.resolve("late"), APPEAR_MS)
      try {
        while (!holds()) {
          const ended = await Promise.race([changed.promise, late.promise])
          if (ended === "late") throw new Error(`${what} did not come:\n${screen.lines().join("\n")}`)
        }
      } finally {
        clearTimeout(timer)
      }
    },
    type: (text) => {
      child.terminal?.write(text)
    },
    resize: (newColumns, newRows) => {
      screen.resize(newColumns, newRows)
      child.terminal?.resize(newColumns, newRows)
    },
    kill: (signal) => child.kill(signal),
    answer: () => {
      child.terminal?.write(held)
      held = ""
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL")
      await child.exited
      child.terminal?.close()
      screen[Symbol.dispose]()
    },
  }
  return window
}
