/**
 * Relays a loopback port of the sandbox to one of the gateway's unix sockets, bytes as they are. Clients inside know
 * proxies by address and port; the sandbox has no network, so the sockets are the only things that leave it.
 */
import { createConnection, createServer, type Server, type Socket } from "node:net"

/** Connections at once on one port; far beyond what agents open, far below what would exhaust a process's files. */
const MAX_CONNECTIONS = 2048

export interface Relay extends AsyncDisposable {
  /** The port that listens, in case 0 was asked for */
  port: number
}

/** Starts a relay on 127.0.0.1. Throws when the port is taken. */
export async function startRelay(to: { port: number; socket: string }): Promise<Relay> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => join(client, to.socket))
  server.maxConnections = MAX_CONNECTIONS
  await listen(server, to.port)
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the relay has no port")
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      await new Promise<void>((done) => {
        server.close(() => done())
      })
    },
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject)
      resolve()
    })
  })
}

/**
 * Joins the two ends with back-pressure both ways. A half-closed side is passed on; an error on one ends both. When
 * the gateway does not answer the client is reset, which every HTTP client reports as a failed proxy.
 */
function join(client: Socket, path: string): void {
  const gateway = createConnection({ path, allowHalfOpen: true })
  const end = () => {
    client.destroy()
    gateway.destroy()
  }
  client.on("error", end)
  gateway.on("error", end)
  client.on("close", () => gateway.destroy())
  gateway.on("close", () => client.destroySoon())
  client.pipe(gateway)
  gateway.pipe(client)
}
