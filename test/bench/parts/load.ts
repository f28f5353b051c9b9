/**
 * The client of the benches: a closed loop of keep-alive connections. argv: JSON of Load. Prints one JSON line of
 * requests per second and latencies in ms.
 */
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { connect as connectNet, type Socket } from "node:net"
import process from "node:process"
import { connect as connectTls, createSecureContext, type TLSSocket } from "node:tls"
import { quantile } from "../harness.ts"

export interface Load {
  /** Port of the relay on 127.0.0.1; absent goes to `address` directly */
  relayPort?: number
  /** Address of the origin */
  address: string
  /** Name of the origin */
  name: string
  /** Authority of whoever ends the TLS, file of PEM */
  ca: string
  connections: number
  seconds: number
}

export interface LoadResult {
  rps: number
  p50: number
  p99: number
}

const load = JSON.parse(process.argv[2] ?? "{}") as Load
const secureContext = createSecureContext({ ca: readFileSync(load.ca) })
const request = `GET /small HTTP/1.1\r\nHost: ${load.name}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n`
const latencies: number[] = []
let running = true

const sockets: TLSSocket[] = []
for (let i = 0; i < load.connections; i++) sockets.push(await open())
const startedAt = performance.now()
setTimeout(() => {
  running = false
}, load.seconds * 1000)
await Promise.all(sockets.map(loop))
const seconds = (performance.now() - startedAt) / 1000
const result: LoadResult = {
  rps: latencies.length / seconds,
  p50: quantile(latencies, 0.5),
  p99: quantile(latencies, 0.99),
}
console.log(JSON.stringify(result))
process.exit(0)

async function open(): Promise<TLSSocket> {
  let socket: Socket | undefined
  if (load.relayPort !== undefined) {
    socket = connectNet({ port: load.relayPort, host: "127.0.0.1", noDelay: true })
    await once(socket, "connect")
    socket.write(`CONNECT ${load.name}:443 HTTP/1.1\r\nHost: ${load.name}:443\r\n\r\n`)
    await once(socket, "data")
  }
  const where = socket === undefined ? { host: load.address, port: 443 } : { socket }
  const tls = connectTls({ ...where, servername: load.name, secureContext, ALPNProtocols: ["http/1.1"] })
  await once(tls, "secureConnect")
  tls.setNoDelay(true)
  return tls
}

/** One request after the other: the answer is complete when its Content-Length is here. */
function loop(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    let sentAt = performance.now()
    let left = 0
    socket.on("error", reject)
    socket.on("close", () => reject(new Error("the connection was closed")))
    socket.on("data", (chunk: Buffer) => {
      if (left === 0) {
        const end = chunk.indexOf("\r\n\r\n")
        const length = /content-length: (\d+)/i.exec(chunk.toString("latin1", 0, end))
        if (!chunk.toString("latin1", 0, 12).endsWith("200") || length === null) {
          return reject(new Error(`unexpected answer: ${chunk.toString("latin1", 0, 300)}`))
        }
        left = end + 4 + Number(length[1])
      }
      left -= chunk.length
      if (left > 0) return
      const now = performance.now()
      latencies.push(now - sentAt)
      if (!running) return resolve()
      sentAt = now
      socket.write(request)
    })
    socket.write(request)
  })
}
