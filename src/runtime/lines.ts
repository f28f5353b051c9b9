/** One JSON object a line, over any stream: the framing of every channel between our own processes. */
import type { Readable, Writable } from "node:stream"

/** Thrown when the other side sends a line longer than agreed. */
export class LineTooLong extends Error {
  constructor(max: number) {
    super(`a line is longer than ${max} bytes`)
  }
}

/**
 * The lines of a stream, without their newline. A last line without newline counts. Throws LineTooLong. Whoever stops
 * before the end leaves the stream destroyed, unless `keepOpen` says that it is read on in another way.
 */
export async function* readLines(
  stream: Readable,
  maxBytes: number,
  { keepOpen = false } = {},
): AsyncGenerator<string> {
  let parts: Buffer[] = []
  let held = 0
  for await (const chunk of stream.iterator({ destroyOnReturn: !keepOpen })) {
    let rest = chunk as Buffer
    for (;;) {
      const end = rest.indexOf(10)
      if (held + (end < 0 ? rest.length : end) > maxBytes) throw new LineTooLong(maxBytes)
      if (end < 0) break
      const line = rest.subarray(0, end)
      yield parts.length === 0 ? line.toString() : Buffer.concat([...parts, line]).toString()
      parts = []
      held = 0
      rest = rest.subarray(end + 1)
    }
    if (rest.length > 0) {
      parts.push(rest)
      held += rest.length
    }
  }
  if (held > 0) yield Buffer.concat(parts).toString()
}

/** Writes one object as a line. Resolves when the stream takes more; rejects when it is broken. */
export function writeLine(stream: Writable, value: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(`${JSON.stringify(value)}\n`, (error) => (error ? reject(error) : resolve()))
  })
}

/**
 * The first line of a stream, which is paused behind it and goes on with what follows. Undefined when it ends before.
 * Rejects with LineTooLong.
 */
export function firstLine(stream: Readable, maxBytes: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    let parts: Buffer[] = []
    let held = 0
    const settle = (action: () => void) => {
      stream.off("data", read)
      stream.off("end", lost)
      stream.off("close", lost)
      stream.off("error", lost)
      stream.pause()
      action()
    }
    const lost = () => settle(() => resolve(undefined))
    const read = (chunk: Buffer) => {
      const end = chunk.indexOf(10)
      parts.push(end < 0 ? chunk : chunk.subarray(0, end))
      held += chunk.length
      if (held > maxBytes && end < 0) settle(() => reject(new LineTooLong(maxBytes)))
      if (end < 0) return
      const text = Buffer.concat(parts).toString()
      parts = []
      settle(() => {
        const rest = chunk.subarray(end + 1)
        if (rest.length > 0) stream.unshift(rest)
        resolve(text)
      })
    }
    stream.on("data", read)
    stream.once("end", lost)
    stream.once("close", lost)
    stream.once("error", lost)
  })
}
