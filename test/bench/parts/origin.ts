/**
 * The upstream of the benches, on the runtime's own server, so that it is not what is measured. argv: address, file of
 * the certificate, file of the key. `/small` answers 1 KiB, `/events?n=&ms=` streams events that carry the time of
 * sending, `/down?mb=` sends.
 */
import { readFileSync } from "node:fs"
import process from "node:process"

const [address = "", cert = "", key = ""] = process.argv.slice(2)
const small = Buffer.alloc(1024, "x")
const MIB = Buffer.alloc(1024 * 1024, "y")

const server = Bun.serve({
  hostname: address,
  port: 443,
  tls: { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") },
  idleTimeout: 60,
  fetch(request) {
    const url = new URL(request.url)
    if (url.pathname === "/small") return new Response(small)
    if (url.pathname === "/events")
      return events(Number(url.searchParams.get("n")), Number(url.searchParams.get("ms")))
    if (url.pathname === "/down") return download(Number(url.searchParams.get("mb")))
    return new Response("not found", { status: 404 })
  },
})

function events(count: number, everyMs: number): Response {
  let sent = 0
  return new Response(
    new ReadableStream({
      async pull(controller) {
        if (sent++ === count) return controller.close()
        await Bun.sleep(everyMs)
        controller.enqueue(`data: ${performance.timeOrigin + performance.now()}\n\n`)
      },
    }),
    { headers: { "Content-Type": "text/event-stream" } },
  )
}

function download(mb: number): Response {
  let left = mb
  return new Response(
    new ReadableStream({
      pull(controller) {
        if (left-- === 0) return controller.close()
        controller.enqueue(MIB)
      },
    }),
  )
}

console.log(`listening ${server.port}`)
