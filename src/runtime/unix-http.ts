/**
 * One HTTP request over a unix socket. Bun's own client needs a millisecond for its first one, where its `node:http`
 * takes twenty to load and start; it takes no proxy from the environment for a unix socket.
 */
import { request } from "node:http"

export interface UnixAnswer {
  status: number
  text: string
}

/** Throws when the socket refuses, the signal aborts, or the answer is longer than `max` bytes. */
export function requestOverUnix(
  socket: string,
  method: "GET" | "POST",
  path: string,
  options: { signal: AbortSignal; max: number },
): Promise<UnixAnswer> {
  return typeof Bun === "undefined"
    ? byNode(socket, method, path, options)
    : byBun(socket, method, path, options)
}

type Options = Parameters<typeof requestOverUnix>[3]

const ENDLESS = "the answer has no end"

async function byBun(
  socket: string,
  method: string,
  path: string,
  { signal, max }: Options,
): Promise<UnixAnswer> {
  const response = await fetch(`http://localhost${path}`, { unix: socket, method, signal })
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += part.length
    if (size > max) throw new Error(ENDLESS)
    parts.push(part)
  }
  return { status: response.status, text: Buffer.concat(parts).toString() }
}

/** The same for runtimes without a `fetch` over unix sockets. */
function byNode(socket: string, method: string, path: string, { signal, max }: Options): Promise<UnixAnswer> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: socket, method, path, signal }, (response) => {
      const parts: Buffer[] = []
      let size = 0
      response.on("data", (part: Buffer) => {
        size += part.length
        if (size > max) call.destroy(new Error(ENDLESS))
        else parts.push(part)
      })
      response.on("error", reject)
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() })
      })
    })
    call.on("error", reject)
    call.end()
  })
}
