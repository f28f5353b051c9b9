/**
 * The floor that egress is compared with: it answers CONNECT, ends the client's TLS, opens TLS of its own to the origin
 * and copies bytes, with back-pressure and nothing else. No parsing, no rules, no log. argv: socket path, address of the
 * origin, its name, files of certificate and key, file of the origin's authority.
 */
import { readFileSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import process from "node:process"
import { connect, createSecureContext, TLSSocket } from "node:tls"

const [path = "", address = "", name = "", cert = "", key = "", ca = ""] = process.argv.slice(2)
const serverContext = createSecureContext({ cert: readFileSync(cert), key: readFileSync(key) })
const clientContext = createSecureContext({ ca: readFileSync(ca) })

createServer({ allowHalfOpen: true }, (client) => {
  client.once("data", () => {
    client.pause()
    client.write("HTTP/1.1 200 OK\r\n\r\n")
    const inside = new TLSSocket(client, { isServer: true, secureContext: serverContext })
    const upstream = connect({ host: address, port: 443, servername: name, secureContext: clientContext })
    upstream.setNoDelay(true)
    splice(inside, upstream)
    splice(upstream, inside)
  })
  client.on("error", () => client.destroy())
}).listen(path, () => console.log("listening"))

function splice(from: Socket, to: Socket): void {
  from.on("data", (chunk: Buffer) => {
    if (!to.write(chunk)) from.pause()
  })
  to.on("drain", () => from.resume())
  from.on("end", () => to.end())
  from.on("error", () => to.destroy())
  from.on("close", () => to.destroy())
}
