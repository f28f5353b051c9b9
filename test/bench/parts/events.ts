/**
 * Measures how long events are on their way. argv: JSON of Load. The origin writes the time of sending into each event,
 * on the clock that all processes share. Prints one JSON line of delays in ms.
 */
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { connect as connectNet, type Socket } from "node:net"
import process from "node:process"
import { connect as connectTls } from "node:tls"
import type { Load } from "./load.ts"

export interface EventsResult {
  delays: number[]
}

const COUNT = 50
const EVERY_MS = 10

const load = JSON.parse(process.argv[2] ?? "{}") as Load
let socket: Socket | undefined
if (load.relayPort !== undefined) {
  socket = connectNet({ port: load.relayPort, host: "127.0.0.1", noDelay: true })
  await once(socket, "connect")
  socket.write(`CONNECT ${load.name}:443 HTTP/1.1\r\nHost: ${load.name}:443\r\n\r\n`)
  await once(socket, "data")
}
const where = socket === undefined ? { host: load.address, port: 443 } : { socket }
const tls = connectTls({
  ...where,
  servername: load.name,
  ca: readFileSync(load.ca),
  ALPNProtocols: ["http/1.1"],
})
await once(tls, "secureConnect")
const delays: number[] = []
tls.on("data", (chunk: Buffer) => {
  const now = performance.timeOrigin + performance.now()
  for (const match of chunk.toString("latin1").matchAll(/data: ([\d.]+)\n/g)) {
    delays.push(now - Number(match[1]))
  }
  if (delays.length < COUNT) return
  console.log(JSON.stringify({ delays } satisfies EventsResult))
  process.exit(0)
})
tls.write(`GET /events?n=${COUNT}&ms=${EVERY_MS} HTTP/1.1\r\nHost: ${load.name}\r\n\r\n`)
