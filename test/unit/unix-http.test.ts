import { expect, test } from "bun:test"
import { createServer, type RequestListener } from "node:http"
import { join } from "node:path"
import { requestOverUnix } from "../../src/runtime/unix-http.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const NEVER = new AbortController().signal

async function serving<T>(listener: RequestListener, work: (socket: string) => Promise<T>): Promise<T> {
  using folder = temporaryFolder()
  const path = join(folder.path, "s")
  const server = createServer(listener)
  await new Promise<void>((done) => server.listen(path, done))
  try {
    return await work(path)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

test("method and path arrive, status and text come back", async () => {
  const answer = await serving(
    (request, response) => response.writeHead(404).end(`${request.method} ${request.url}`),
    (socket) => requestOverUnix(socket, "POST", "/v1/x?y=1", { signal: NEVER, max: 100 }),
  )
  expect(answer).toEqual({ status: 404, text: "POST /v1/x?y=1" })
})

test("an answer beyond the bound is an error", async () => {
  const asked = serving(
    (_, response) => response.end("x".repeat(200)),
    (socket) => requestOverUnix(socket, "GET", "/", { signal: NEVER, max: 100 }),
  )
  await expect(asked).rejects.toThrow("no end")
})

test("an aborted request and a socket that nobody serves are errors", async () => {
  const stop = new AbortController()
  const asked = serving(
    () => stop.abort(new Error("enough")),
    (socket) => requestOverUnix(socket, "GET", "/", { signal: stop.signal, max: 100 }),
  )
  await expect(asked).rejects.toThrow()
  using folder = temporaryFolder()
  const nobody = requestOverUnix(join(folder.path, "none"), "GET", "/", { signal: NEVER, max: 100 })
  await expect(nobody).rejects.toThrow()
})

test("a proxy in the environment is not taken", async () => {
  const answer = await serving(
    (_, response) => response.end("direct"),
    async (socket) => {
      const code = `const { requestOverUnix } = await import(${JSON.stringify(join(import.meta.dir, "../../src/runtime/unix-http.ts"))})
        console.log((await requestOverUnix(${JSON.stringify(socket)}, "GET", "/", { signal: new AbortController().signal, max: 100 })).text)`
      const proxy = "http://127.0.0.1:1"
      const child = Bun.spawn([process.execPath, "--no-env-file", "-e", code], {
        env: { PATH: process.env.PATH ?? "", HTTP_PROXY: proxy, http_proxy: proxy, ALL_PROXY: proxy },
      })
      return (await new Response(child.stdout).text()).trim()
    },
  )
  expect(answer).toBe("direct")
})
