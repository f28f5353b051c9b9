/**
 * The demo's own internet, all of it on 127.0.0.1: an HTTPS service that remembers who called it, a proxy that leads
 * the service's made-up names to it (as in a company whose only way out is a proxy: an ordinary user cannot listen on
 * port 443), and a bystander, a port of this machine that no bottle has any business with.
 */
import { once } from "node:events"
import { createServer as createHttp } from "node:http"
import { createServer as createHttps } from "node:https"
import { type AddressInfo, connect, createServer as createTcp, type Server, type Socket } from "node:net"
import { mintServerCertificate } from "./certificate.ts"

const LOOPBACK = "127.0.0.1"
/** What the bystander says to everybody who connects */
export const GREETING = "hello from the host"

/** One request as it arrived at the service. */
export interface Call {
  host: string
  /** Value of its Authorization header, empty when there was none */
  authorization: string
}

export interface DemoNetwork extends AsyncDisposable {
  /** Certificate of the service's authority, PEM */
  authority: string
  /** Requests that arrived at the service, in their order */
  calls: Call[]
  /** TCP port of the proxy on 127.0.0.1 */
  proxyPort: number
  /** TCP port of the bystander on 127.0.0.1 */
  bystanderPort: number
  /** Connections that the bystander has had so far */
  visits(): number
}

/** Starts all of it; `names` are the hosts that lead to the service. */
export async function startNetwork(names: readonly string[]): Promise<DemoNetwork> {
  await using opened = new AsyncDisposableStack()
  const { authority, cert, key } = await mintServerCertificate(names)
  const calls: Call[] = []
  const service = createHttps({ cert, key }, (request, response) => {
    const { host = "", authorization = "" } = request.headers
    calls.push({ host, authorization })
    // It repeats the credential on purpose: that must not reach the caller.
    response.setHeader("content-type", "application/json")
    response.end(`${JSON.stringify({ hello: host, got: authorization })}\n`)
  })
  const servicePort = await listening(service, opened)
  const proxyPort = await listening(proxyTo(names, servicePort), opened)
  let visits = 0
  const bystander = createTcp((socket) => {
    visits += 1
    socket.on("error", () => socket.destroy())
    socket.end(`${GREETING}\n`)
  })
  const bystanderPort = await listening(bystander, opened)
  const all = opened.move()
  return {
    authority,
    calls,
    proxyPort,
    bystanderPort,
    visits: () => visits,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

/** Whether a connection from this process to a loopback port is greeted: the control for what a bottle must not reach. */
export async function isGreeted(port: number): Promise<boolean> {
  const socket = connect(port, LOOPBACK)
  socket.setEncoding("utf8")
  let text = ""
  try {
    for await (const chunk of socket) text += chunk
  } catch {
    return false
  }
  return text.includes(GREETING)
}

/** A CONNECT proxy (RFC 9110, 9.3.6) for those names on port 443, and for nothing else. */
function proxyTo(names: readonly string[], port: number): Server {
  const server = createHttp((_, response) => response.writeHead(403).end())
  server.on("connect", (request, client: Socket) => {
    client.on("error", () => client.destroy())
    if (!names.some((name) => request.url === `${name}:443`)) {
      client.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
      return
    }
    const upstream = connect(port, LOOPBACK, () => {
      client.write("HTTP/1.1 200 Connection Established\r\n\r\n")
      upstream.pipe(client)
      client.pipe(upstream)
    })
    upstream.on("error", () => client.destroy())
    upstream.on("close", () => client.destroy())
    client.on("close", () => upstream.destroy())
  })
  return server
}

/** Listens on a free port, and closes with everything that is still connected. */
async function listening(server: Server, opened: AsyncDisposableStack): Promise<number> {
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  server.listen(0, LOOPBACK)
  await once(server, "listening")
  opened.defer(async () => {
    const closed = once(server, "close")
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  })
  return (server.address() as AddressInfo).port
}
