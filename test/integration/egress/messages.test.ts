/** What passes, passes as it is: bodies, trailers, interim answers, connections, streams. */
import { describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer } from "node:http"
import type { TLSSocket } from "node:tls"
import { type EgressOptions, route, startEgress } from "../../fixtures/egress.ts"
import { openProxy, openTunnel } from "../../fixtures/raw-client.ts"
import { createTestAuthority } from "../../fixtures/test-authority.ts"
import { bodyOf, loopbackAddress, startHttpsOrigin, startRawOrigin } from "../../fixtures/tls-origin.ts"

const HOST = "api.example.test"
const H = `Host: ${HOST}\r\n`
const AUTH = { auth: { scheme: "bearer", credential: "api" } } as const

async function served(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  options: EgressOptions = {},
) {
  const authority = await createTestAuthority()
  const origin = await startHttpsOrigin(authority, [HOST], handler)
  return join(origin, authority.cert, options)
}

async function raw(handler: (socket: TLSSocket) => void, options: EgressOptions = {}) {
  const authority = await createTestAuthority()
  const origin = await startRawOrigin(authority, [HOST], handler)
  return join(origin, authority.cert, options)
}

async function join(
  origin: AsyncDisposable & { address: string; connections: number },
  extraCa: string,
  options: EgressOptions,
) {
  const egress = await startEgress({
    routes: [route(HOST)],
    hosts: { [HOST]: origin.address },
    extraCa,
    ...options,
  })
  return {
    egress,
    origin,
    async [Symbol.asyncDispose]() {
      await egress[Symbol.asyncDispose]()
      await origin[Symbol.asyncDispose]()
    },
  }
}

/** Answers each complete head that comes with what `reply` says. */
function onHeads(socket: TLSSocket, reply: (head: string) => void): void {
  let text = ""
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1")
    for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
      const head = text.slice(0, end)
      text = text.slice(end + 4)
      reply(head)
    }
  })
}

describe("connections", () => {
  test("one tunnel and one upstream connection serve request after request", async () => {
    await using it = await served((request, response) => response.end(request.url))
    using client = await openTunnel(it.egress, HOST)
    for (let i = 0; i < 20; i++) {
      expect((await client.ask(`GET /${i} HTTP/1.1\r\n${H}\r\n`)).body).toBe(`/${i}`)
    }
    expect(it.origin.connections).toBe(1)
  })

  test("pipelined requests are answered in order", async () => {
    await using it = await served(async (request, response) => {
      response.end(`${request.url} ${await bodyOf(request)}`)
    })
    using client = await openTunnel(it.egress, HOST)
    client.send(
      `GET /1 HTTP/1.1\r\n${H}\r\nPOST /2 HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\n${H}\r\n`,
    )
    expect((await client.answer()).body).toBe("/1 ")
    expect((await client.answer()).body).toBe("/2 abc")
    expect((await client.answer()).body).toBe("/3 ")
  })

  test("a refused request keeps the connection when its body is small, and the body is not taken for a request", async () => {
    await using it = await served((request, response) => response.end(request.url), {
      routes: [route(HOST, { paths: ["/ok"] })],
    })
    using client = await openTunnel(it.egress, HOST)
    const smuggled = `GET /ok HTTP/1.1\r\n${H}\r\n`
    const refused = await client.ask(
      `POST /no HTTP/1.1\r\n${H}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    )
    expect(refused.status).toBe(403)
    expect((await client.ask(`GET /ok?after HTTP/1.1\r\n${H}\r\n`)).body).toBe("/ok?after")
  })

  test("a refused request with a large body gets its 403 before the connection closes", async () => {
    await using it = await served((_, response) => response.end())
    await it.egress.change([])
    using client = await openTunnel(it.egress, HOST)
    client.send(`POST / HTTP/1.1\r\n${H}Content-Length: 400000\r\n\r\n${"x".repeat(300_000)}`)
    const refused = await client.answer()
    expect([refused.status, refused.headers.connection]).toEqual([403, "close"])
    expect(await client.rest()).toBe("")
  })

  test("a pooled connection that the upstream closed costs a GET nothing", async () => {
    const sockets: TLSSocket[] = []
    await using it = await raw((socket) => {
      sockets.push(socket)
      onHeads(socket, (head) => {
        // The second request on a connection meets a close instead of an answer.
        if (head.startsWith("GET /second") && sockets.length === 1) socket.destroy()
        else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      })
    })
    using client = await openTunnel(it.egress, HOST)
    expect((await client.ask(`GET /first HTTP/1.1\r\n${H}\r\n`)).body).toBe("ok")
    expect((await client.ask(`GET /second HTTP/1.1\r\n${H}\r\n`)).body).toBe("ok")
    expect(sockets.length).toBe(2)
  })

  test("a POST that meets a closed connection is not sent a second time", async () => {
    let posts = 0
    await using it = await raw((socket) => {
      onHeads(socket, (head) => {
        if (head.startsWith("POST")) {
          posts++
          socket.destroy()
        } else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      })
    })
    using client = await openTunnel(it.egress, HOST)
    await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    const failed = await client.ask(`POST / HTTP/1.1\r\n${H}Content-Length: 0\r\n\r\n`)
    expect([failed.status, posts]).toEqual([502, 1])
    expect(JSON.parse(failed.body)).toMatchObject({ rule: "upstream-unreachable", retryable: true })
  })

  test("bytes that an upstream sends unasked never answer a later request", async () => {
    let unasked: () => void = () => {}
    const sent = new Promise<void>((resolve) => {
      unasked = resolve
    })
    const sockets: TLSSocket[] = []
    await using it = await raw((socket) => {
      sockets.push(socket)
      onHeads(socket, () => {
        const own = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"
        const extra = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra"
        socket.write(sockets.length === 1 ? own + extra : own, () => unasked())
      })
    })
    using client = await openTunnel(it.egress, HOST)
    expect((await client.ask(`GET /1 HTTP/1.1\r\n${H}\r\n`)).body).toBe("own")
    await sent
    expect((await client.ask(`GET /2 HTTP/1.1\r\n${H}\r\n`)).body).toBe("own")
    expect(sockets.length).toBe(2)
  })

  test("a client that gives up ends the upstream's work", async () => {
    let closed: () => void = () => {}
    const gone = new Promise<void>((resolve) => {
      closed = resolve
    })
    let begun: () => void = () => {}
    const asked = new Promise<void>((resolve) => {
      begun = resolve
    })
    await using it = await served((_, response) => {
      response.on("close", () => closed())
      begun()
    })
    using client = await openTunnel(it.egress, HOST)
    client.send(`GET /slow HTTP/1.1\r\n${H}\r\n`)
    await asked
    client.socket.destroy()
    await gone
  })
})

describe("messages", () => {
  test("HEAD, 204 and 304 have no body, and the connection goes on", async () => {
    await using it = await served((request, response) => {
      if (request.url === "/head") response.setHeader("Content-Length", "5").end()
      else response.writeHead(Number(request.url!.slice(1)), { ETag: '"x"' }).end()
    })
    using client = await openTunnel(it.egress, HOST)
    const head = await client.ask(`HEAD /head HTTP/1.1\r\n${H}\r\n`)
    expect([head.status, head.headers["content-length"]]).toEqual([200, "5"])
    expect((await client.ask(`GET /204 HTTP/1.1\r\n${H}\r\n`)).status).toBe(204)
    expect((await client.ask(`GET /304 HTTP/1.1\r\n${H}\r\n`)).status).toBe(304)
    expect((await client.ask(`HEAD /head HTTP/1.1\r\n${H}\r\n`)).status).toBe(200)
  })

  test("a chunked upload arrives whole, without extensions, with its trailers", async () => {
    await using it = await served(async (request, response) => {
      const body = await bodyOf(request)
      response.end(
        JSON.stringify({ body, trailers: request.trailers, length: request.headers["content-length"] }),
      )
    })
    using client = await openTunnel(it.egress, HOST)
    const answer = await client.ask(
      `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\nAuthorization: mine\r\n\r\n`,
    )
    expect(JSON.parse(answer.body)).toEqual({ body: "hello world", trailers: { "x-sum": "11" } })
  })

  test("trailers of an answer pass, and those that would act on the connection do not", async () => {
    await using it = await raw((socket) => {
      onHeads(socket, () =>
        socket.write(
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n",
        ),
      )
    })
    using client = await openTunnel(it.egress, HOST)
    const answer = await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    expect([answer.body, answer.trailers]).toEqual(["ok", "X-Sum: 1\r\n"])
  })

  test("a body that ends with the connection becomes a chunked one", async () => {
    await using it = await raw((socket) => {
      onHeads(socket, () => socket.end("HTTP/1.1 200\r\n\r\nall of it"))
    })
    using client = await openTunnel(it.egress, HOST)
    const answer = await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    expect([answer.status, answer.headers["transfer-encoding"], answer.body]).toEqual([
      200,
      "chunked",
      "all of it",
    ])
    expect((await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)).body).toBe("all of it")
  })

  test("interim answers pass before the final one", async () => {
    await using it = await raw((socket) => {
      onHeads(socket, () =>
        socket.write(
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
      )
    })
    using client = await openTunnel(it.egress, HOST)
    client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    const hints = await client.answer()
    expect([hints.status, hints.headers.link]).toEqual([103, "</a>"])
    expect((await client.answer()).body).toBe("ok")
  })

  test("100-continue is answered for what is allowed, and never for what is refused", async () => {
    await using it = await served(
      async (request, response) => {
        response.end(`${request.headers.expect} ${await bodyOf(request)}`)
      },
      { routes: [route(HOST, { methods: ["PUT"] })] },
    )
    using client = await openTunnel(it.egress, HOST)
    client.send(`PUT / HTTP/1.1\r\n${H}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n`)
    expect((await client.answer()).status).toBe(100)
    client.send("abc")
    expect((await client.answer()).body).toBe("undefined abc")
    using refused = await openTunnel(it.egress, HOST)
    const answer = await refused.ask(
      `POST / HTTP/1.1\r\n${H}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n`,
    )
    expect([answer.status, answer.headers.connection]).toEqual([403, "close"])
  })

  test("an answer that comes before the body is complete reaches the client", async () => {
    await using it = await raw((socket) => {
      socket.once("data", () =>
        socket.end("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"),
      )
    })
    using client = await openTunnel(it.egress, HOST)
    client.send(`POST / HTTP/1.1\r\n${H}Content-Length: 1000000\r\n\r\n${"x".repeat(1000)}`)
    const answer = await client.answer()
    expect([answer.status, answer.body, answer.headers.connection]).toEqual([413, "big", "close"])
  })

  test("HTTP/1.0 clients get answers without chunks", async () => {
    await using it = await served((_, response) => {
      response.write("a")
      response.end("b")
    })
    using client = await openTunnel(it.egress, HOST)
    const answer = await client.ask(`GET / HTTP/1.0\r\n${H}\r\n`)
    expect([answer.headers["transfer-encoding"], answer.body]).toEqual([undefined, "ab"])
  })

  test("plain http goes to port 80 where the route says so", async () => {
    const address = loopbackAddress()
    const server = createServer((request, response) => response.end(`${request.headers.host} ${request.url}`))
    server.listen(80, address)
    await once(server, "listening")
    try {
      await using egress = await startEgress({
        routes: [route(HOST, { scheme: "http" })],
        hosts: { [HOST]: address },
      })
      using client = await openProxy(egress.socket)
      expect((await client.ask(`GET http://${HOST}/a HTTP/1.1\r\n${H}\r\n`)).body).toBe(`${HOST} /a`)
      expect((await client.ask(`GET http://${HOST} HTTP/1.1\r\n${H}\r\n`)).body).toBe(`${HOST} /`)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })
})

describe("the credential", () => {
  test("never comes back, in whatever spelling, header, trailer or chunking an upstream echoes it", async () => {
    const token = `sk+${randomBytes(15).toString("base64")}`
    const spellings = [
      token,
      encodeURIComponent(token),
      Buffer.from(token).toString("base64"),
      Buffer.from(`x:${token}`).toString("base64"),
      Buffer.from(`xy${token}z`).toString("base64url"),
      Buffer.from(token).toString("hex"),
      Buffer.from(token).toString("hex").toUpperCase(),
      JSON.stringify(token).replaceAll("/", "\\/"),
    ]
    await using it = await served(
      (request, response) => {
        const got = request.headers.authorization ?? ""
        response.writeHead(200, got, {
          "X-Echo": got,
          Trailer: "X-End",
          "Set-Cookie": `t=${encodeURIComponent(token)}`,
        })
        for (const spelling of spellings) {
          const text = `<${spelling}>`
          const half = Math.floor(text.length / 2)
          response.write(text.slice(0, half))
          response.write(text.slice(half))
        }
        response.addTrailers({ "X-End": got })
        response.end("the end")
      },
      { routes: [route(HOST, AUTH)], tokens: { api: token } },
    )
    using client = await openTunnel(it.egress, HOST)
    const answer = await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    const all = answer.head + answer.body + answer.trailers
    for (const spelling of spellings) expect(all).not.toContain(spelling)
    expect(answer.body).toEndWith("the end")
    expect(answer.body.length).toBe(spellings.join("").length + 2 * spellings.length + "the end".length)
    // The control: without a credential on the route nothing is touched.
    await it.egress.change([route(HOST)])
    using plain = await openTunnel(it.egress, HOST)
    expect((await plain.ask(`GET / HTTP/1.1\r\n${H}\r\n`)).body).toContain(spellings[2]!)
  })

  test("does not come back in the refusal of an answer either", async () => {
    const token = `sk-${randomBytes(12).toString("hex")}`
    await using it = await served(
      (_, response) => {
        response.writeHead(200, { "Content-Encoding": token })
        response.end("coded")
      },
      { routes: [route(HOST, AUTH)], tokens: { api: token } },
    )
    using client = await openTunnel(it.egress, HOST)
    const answer = await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    expect(answer.headers["x-bottle-block"]).toBe("egress/response-undecodable")
    expect(answer.body).toContain("came as ***")
    expect(answer.head + answer.body).not.toContain(token)
  })
})

describe("streams", () => {
  test("each event arrives before the next one is sent", async () => {
    const token = randomBytes(16).toString("hex")
    let next: () => void = () => {}
    await using it = await served(
      async (_, response) => {
        response.writeHead(200, { "Content-Type": "text/event-stream" })
        for (let i = 0; i < 5; i++) {
          const read = new Promise<void>((resolve) => {
            next = resolve
          })
          response.write(`data: event ${i}\n\n`)
          // Nothing more is sent until the client has it: a proxy that waits for more waits for ever.
          await read
        }
        response.end()
      },
      { routes: [route(HOST, AUTH)], tokens: { api: token } },
    )
    using client = await openTunnel(it.egress, HOST)
    client.send(`GET / HTTP/1.1\r\n${H}Accept: text/event-stream\r\n\r\n`)
    for (let i = 0; i < 5; i++) {
      await client.until(new RegExp(`data: event ${i}\n\n`))
      next()
    }
    await client.until(/\r\n0\r\n\r\n$/)
  })

  test("a download of 100 MB stops growing while the client reads nothing, and arrives whole", async () => {
    const size = 100 * 1024 * 1024
    const piece = Buffer.alloc(64 * 1024, "z")
    let written = 0
    let stalled: () => void = () => {}
    const stall = new Promise<void>((resolve) => {
      stalled = resolve
    })
    await using it = await served((_, response) => {
      response.setHeader("Content-Length", size)
      const more = () => {
        while (written < size) {
          written += piece.length
          if (!response.write(piece)) {
            response.once("drain", more)
            return
          }
        }
        response.end()
      }
      more()
      // The stall is real when nothing was taken between two looks.
      let last = -1
      const look = setInterval(() => {
        if (written === last) {
          clearInterval(look)
          stalled()
        }
        last = written
      }, 200)
    })
    using client = await openTunnel(it.egress, HOST)
    client.socket.removeAllListeners("data")
    client.socket.pause()
    const before = it.egress.memory().now
    it.egress.resetPeak()
    client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    await stall
    expect(written).toBeLessThan(size / 2)
    expect(it.egress.memory().now - before).toBeLessThan(64 * 1024 * 1024)
    let got = 0
    const all = new Promise<void>((resolve, reject) => {
      client.socket.on("close", () => reject(new Error(`closed after ${got}`)))
      client.socket.on("data", (chunk: Buffer) => {
        got += chunk.length
        if (got >= size) resolve()
      })
    })
    client.socket.resume()
    await all
    expect(it.egress.memory().peak - before).toBeLessThan(64 * 1024 * 1024)
  }, 60_000)

  test("an upload of 100 MB stops growing while the upstream reads nothing, and arrives whole", async () => {
    const size = 100 * 1024 * 1024
    const piece = Buffer.alloc(64 * 1024, "z")
    let upstream: IncomingMessage | undefined
    let arrived: () => void = () => {}
    const head = new Promise<void>((resolve) => {
      arrived = resolve
    })
    let got = 0
    await using it = await served((request, response) => {
      upstream = request
      request.pause()
      arrived()
      request.on("data", (chunk: Buffer) => {
        got += chunk.length
      })
      request.on("end", () => response.end(String(got)))
      request.pause()
    })
    using client = await openTunnel(it.egress, HOST)
    const before = it.egress.memory().now
    it.egress.resetPeak()
    client.send(`POST / HTTP/1.1\r\n${H}Content-Length: ${size}\r\n\r\n`)
    await head
    let sent = 0
    const sending = (async () => {
      while (sent < size) {
        sent += piece.length
        if (!client.socket.write(piece)) await once(client.socket, "drain")
      }
    })()
    // As above: nothing taken between two looks.
    for (let last = -1; last !== sent; ) {
      last = sent
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    expect(sent).toBeLessThan(size / 2)
    expect(it.egress.memory().now - before).toBeLessThan(64 * 1024 * 1024)
    upstream!.resume()
    await sending
    expect((await client.answer("POST")).body).toBe(String(size))
    expect(it.egress.memory().peak - before).toBeLessThan(64 * 1024 * 1024)
  }, 60_000)
})
