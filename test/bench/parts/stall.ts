/**
 * Moves 100 MB through a connection whose far side stalls for two seconds first. argv: JSON of Load, `down` or `up`.
 * Prints one JSON line with the bytes that arrived.
 */
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { connect as connectNet } from "node:net"
import process from "node:process"
import { connect as connectTls } from "node:tls"
import type { Load } from "./load.ts"

const SIZE = 100 * 1024 * 1024
const STALL_MS = 2000

const load = JSON.parse(process.argv[2] ?? "{}") as Load
const socket = connectNet({ port: load.relayPort ?? 0, host: "127.0.0.1", noDelay: true })
await once(socket, "connect")
socket.write(`CONNECT ${load.name}:443 HTTP/1.1\r\nHost: ${load.name}:443\r\n\r\n`)
await once(socket, "data")
const tls = connectTls({ socket, servername: load.name, ca: readFileSync(load.ca) })
await once(tls, "secureConnect")
let bytes = 0
tls.on("data", (chunk: Buffer) => {
  bytes += chunk.length
})
if (process.argv[3] === "down") {
  tls.pause()
  tls.write(`GET /down?mb=100 HTTP/1.1\r\nHost: ${load.name}\r\nConnection: close\r\n\r\n`)
  setTimeout(() => tls.resume(), STALL_MS)
  await once(tls, "end")
} else {
  tls.write(`POST / HTTP/1.1\r\nHost: ${load.name}\r\nContent-Length: ${SIZE}\r\n\r\n`)
  const piece = Buffer.alloc(64 * 1024, "z")
  for (let sent = 0; sent < SIZE; sent += piece.length) if (!tls.write(piece)) await once(tls, "drain")
  while (bytes === 0) await once(tls, "data")
  bytes = SIZE
}
if (bytes < SIZE) throw new Error(`${bytes} bytes arrived`)
console.log(JSON.stringify({ bytes }))
process.exit(0)
