/** An upstream that reads nothing of a request's body for two seconds, then all of it. argv as of `origin`. */
import { readFileSync } from "node:fs"
import { createServer } from "node:https"
import process from "node:process"

const STALL_MS = 2000

const [address = "", cert = "", key = ""] = process.argv.slice(2)
createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
  let bytes = 0
  setTimeout(() => {
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length
    })
    request.on("end", () => response.end(String(bytes)))
  }, STALL_MS)
}).listen(443, address, () => console.log("listening"))
