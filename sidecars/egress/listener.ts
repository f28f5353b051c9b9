/** The socket that the sandbox sees. */
import { chmodSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { reasonOf } from "../../src/runtime/error.ts"
import { CLIENTS_MAX } from "./limits.ts"
import { Wire } from "./wire.ts"

const TOO_MANY = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

/**
 * Listens on a unix socket and hands each connection to `take`. Resolves when it accepts; rejects when the path cannot
 * be bound.
 */
export function listen(path: string, take: (client: Wire) => Promise<void>): Promise<Server> {
  let clients = 0
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    if (clients >= CLIENTS_MAX) {
      socket.on("error", () => {})
      // Closed as soon as the text is in the kernel: a peer that never closes its side would keep it open for good.
      socket.end(TOO_MANY, () => socket.destroy())
      return
    }
    clients++
    // Counted until it is closed, which is later than its last answer: descriptors are what runs out.
    socket.once("close", () => {
      clients--
    })
    take(new Wire(socket)).catch((error) => {
      console.error(`egress: a connection failed: ${reasonOf(error)}`)
      socket.destroy()
    })
  })
  // A socket file left by a process that was killed would make the bind fail.
  rmSync(path, { force: true })
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    // A burst of connections waits in the kernel instead of being refused there.
    server.listen({ path, backlog: CLIENTS_MAX }, () => {
      server.off("error", reject)
      // The agent connects under another uid; who gets this far is decided by the folder.
      chmodSync(path, 0o666)
      resolve(server)
    })
  })
}
