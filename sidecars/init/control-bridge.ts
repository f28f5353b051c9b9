/**
 * Joins stdin and stdout to the control socket, for a host that can run a command inside the gateway but cannot see
 * its sockets (`docker exec -i`). Bytes pass as they are, both ways, no faster than either side takes them.
 */
import { createConnection, type Socket } from "node:net"
import { pipeline } from "node:stream/promises"
import { CONTROL_SOCKET } from "../../src/policy/paths.ts"

/** How long to wait for init to have made its socket, and the pause between tries, in milliseconds. */
const CONNECT_WITHIN_MS = 10_000
const RETRY_AFTER_MS = 10

export async function runControlBridge(path = CONTROL_SOCKET): Promise<void> {
  const deadline = Date.now() + CONNECT_WITHIN_MS
  for (;;) {
    const socket = createConnection({ path, allowHalfOpen: true })
    const error = await new Promise<Error | undefined>((resolve) => {
      socket.once("connect", () => resolve(undefined))
      socket.once("error", resolve)
    })
    if (error === undefined) process.exit(await carry(socket))
    if (Date.now() > deadline) {
      console.error(`control: init does not answer: ${error.message}`)
      process.exit(1)
    }
    await new Promise((done) => setTimeout(done, RETRY_AFTER_MS))
  }
}

/** Resolves with the exit status once init has ended its side, and all of that has left. */
async function carry(socket: Socket): Promise<number> {
  // The end of the host's side is passed on as such: init says its last words and ends its own.
  process.stdin.pipe(socket)
  process.stdin.on("error", () => socket.end())
  try {
    await pipeline(socket, process.stdout, { end: false })
    // An exit does not wait for what the runtime still holds.
    await new Promise<void>((done) => process.stdout.write("", () => done()))
    return 0
  } catch {
    // EPIPE: the host is gone; or init is, and the host sees the end of our output.
    return 1
  }
}
