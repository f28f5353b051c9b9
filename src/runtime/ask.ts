/**
 * Questions to the person at the terminal. They are written to stderr, so that stdout stays data.
 *
 * The answer is read with single reads from a descriptor of our own, never through `process.stdin`: a stream that
 * was once started keeps a read pending and takes the first keys from whatever program gets the terminal next.
 */
import { closeSync, openSync, read } from "node:fs"
import { isatty, ReadStream } from "node:tty"
import { usageError } from "./error.ts"
import { CTRL_C, LineEditor } from "./line-editor.ts"

/** True when a person can be asked: both what they type and what they read is a terminal. */
export function canAsk(): boolean {
  return isatty(0) && isatty(2)
}

/** The answer to a question, without its line end; an empty answer gives `preset`. */
export async function askText(question: string, preset = ""): Promise<string> {
  const hint = preset === "" ? "" : ` [${preset}]`
  const answer = (await readAnswer(`${question}${hint} `, true)).trim()
  return answer === "" ? preset : answer
}

/** The answer to a question, never shown on the terminal and not trimmed. */
export function askHidden(question: string): Promise<string> {
  return readAnswer(`${question}: `, false)
}

/** Yes or no; only a clear answer counts, Enter gives `preset`. */
export async function confirm(question: string, preset = false): Promise<boolean> {
  const choices = preset ? "[Y/n]" : "[y/N]"
  for (;;) {
    const answer = (await readAnswer(`${question} ${choices} `, true)).trim().toLowerCase()
    if (answer === "") return preset
    if (["y", "yes"].includes(answer)) return true
    if (["n", "no"].includes(answer)) return false
    process.stderr.write("Please answer y or n.\n")
  }
}

async function readAnswer(prompt: string, echo: boolean): Promise<string> {
  if (!canAsk()) throw usageError(`Cannot ask without a terminal: ${prompt.trim()}`)
  using keys = openKeys()
  process.stderr.write(prompt)
  const line = new LineEditor(echo ? (text) => void process.stderr.write(text) : () => {})
  try {
    for (;;) {
      const answer = line.take(await keys.next())
      if (answer !== undefined) return answer
    }
  } finally {
    process.stderr.write("\n")
  }
}

/** The terminal in raw mode, so that Ctrl-C reaches us as a key and no signal interrupts what runs beside it. */
function openKeys(): Disposable & { next(): Promise<string> } {
  const fd = openSync("/dev/tty", "r+")
  // The mode is set through a stream of its own that is never read.
  const mode = new ReadStream(openSync("/dev/tty", "r+"))
  mode.setRawMode(true)
  // One byte at a time: what was typed ahead stays in the terminal for whoever asks next.
  const buffer = Buffer.alloc(1)
  const decoder = new TextDecoder()
  return {
    next: () =>
      new Promise((resolve, reject) => {
        read(fd, buffer, 0, buffer.length, null, (error, size) => {
          if (error) reject(error)
          // A terminal that is gone (EOF) ends the question as Ctrl-C does.
          else resolve(size === 0 ? CTRL_C : decoder.decode(buffer.subarray(0, size), { stream: true }))
        })
      }),
    [Symbol.dispose]() {
      mode.setRawMode(false)
      mode.destroy()
      closeSync(fd)
    },
  }
}
