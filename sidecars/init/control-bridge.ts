/**
 * Joins stdin and stdout to the control socket, for a host that can run a command inside the gateway but cannot see
 * its sockets (`docker exec -i`).
 */
import { createConnection } from "node:net"
import { CONTROL_SOCKET } from "../../src/policy/paths.ts"

/** How long to wait for init to have made its socket, and the pause between tries, in milliseconds. */
const CONNECT_WITHIN_MS = 10_000
const RETRY_AFTER_MS = 10

export async function runControlBridge(): Promise<void> {
  const deadline = Date.now() + CONNECT_WITHIN_MS
  for (;;) {
    const socket = createConnection({ path: CONTROL_SOCKET, allowHalfOpen: true })
    const error = await new Promise<Error | undefined>((resolve) => {
      socket.once("connect", () => resolve(undefined))
      socket.once("error", resolve)
    })
    if (error === undefined) {
      socket.on("error", () => process.exit(1))
      process.stdin.pipe(socket)
      socket.pipe(process.stdout)
      await new Promise<void>((done) => socket.once("close", () => done()))
      process.exit(0)
    }
    if (Date.now() > deadline) {
      console.error(`control: init does not answer: ${error.message}`)
      process.exit(1)
    }
    await new Promise((done) => setTimeout(done, RETRY_AFTER_MS))
  }
}
