/** Requests that two parsers could read in two ways, each next to the same request without its fault. */
import { describe, expect, test } from "bun:test"
import { type Egress, route, startEgress } from "../../fixtures/egress.ts"
import { openProxy, openTunnel } from "../../fixtures/raw-client.ts"
import { createTestAuthority } from "../../fixtures/test-authority.ts"
import { bodyOf, type Origin, startHttpsOrigin } from "../../fixtures/tls-origin.ts"

const HOST = "api.example.test"

interface Rig extends AsyncDisposable {
  egress: Egress
  origin: Origin
  /** Requests that reached the upstream: method, target, body */
  seen: string[]
}

async function rig(): Promise<Rig> {
  const authority = await createTestAuthority()
  const seen: string[] = []
  const origin = await startHttpsOrigin(authority, [HOST], async (request, response) => {
    seen.push(`${request.method} ${request.url} ${await bodyOf(request)}`)
    response.end("served")
  })
  const egress = await startEgress({
    routes: [route(HOST)],
    hosts: { [HOST]: origin.address },
    extraCa: authority.cert,
  })
  return {
    egress,
    origin,
    seen,
    async [Symbol.asyncDispose]() {
      await egress[Symbol.asyncDispose]()
      await origin[Symbol.asyncDispose]()
    },
  }
}

const H = `Host: ${HOST}\r\n`
const long = "a".repeat(9000)
const fields = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: 1\r\n`).join("")

/** What is sent inside the tunnel, and the same without the fault. */
const ATTACKS: [name: string, attack: string, control: string][] = [
  ["a bare LF after the first line", `GET / HTTP/1.1\n${H}\r\n`, `GET / HTTP/1.1\r\n${H}\r\n`],
  [
    "a bare LF between fields",
    `GET / HTTP/1.1\r\n${H}X-A: 1\nX-B: 2\r\n\r\n`,
    `GET / HTTP/1.1\r\n${H}X-A: 1\r\n\r\n`,
  ],
  ["bare LFs alone", `GET / HTTP/1.1\n${H.replace("\r", "")}\n`, `GET / HTTP/1.1\r\n${H}\r\n`],
  [
    "a bare CR in a value",
    `GET / HTTP/1.1\r\n${H}X-A: 1\rX-B: 2\r\n\r\n`,
    `GET / HTTP/1.1\r\n${H}X-A: 1\r\n\r\n`,
  ],
  ["a folded line", `GET / HTTP/1.1\r\n${H}X-A: 1\r\n 2\r\n\r\n`, `GET / HTTP/1.1\r\n${H}X-A: 1 2\r\n\r\n`],
  ["a NUL in a value", `GET / HTTP/1.1\r\n${H}X-A: 1\x002\r\n\r\n`, `GET / HTTP/1.1\r\n${H}X-A: 12\r\n\r\n`],
  [
    "a control character in a value",
    `GET / HTTP/1.1\r\n${H}X-A: \x1b[0m\r\n\r\n`,
    `GET / HTTP/1.1\r\n${H}X-A: [0m\r\n\r\n`,
  ],
  ["a blank before a colon", `GET / HTTP/1.1\r\n${H}X-A : 1\r\n\r\n`, `GET / HTTP/1.1\r\n${H}X-A: 1\r\n\r\n`],
  ["a field without a name", `GET / HTTP/1.1\r\n${H}: 1\r\n\r\n`, `GET / HTTP/1.1\r\n${H}X: 1\r\n\r\n`],
  ["a field without a colon", `GET / HTTP/1.1\r\n${H}XA\r\n\r\n`, `GET / HTTP/1.1\r\n${H}XA:\r\n\r\n`],
  [
    "two Content-Lengths that differ",
    `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
    `POST / HTTP/1.1\r\n${H}Content-Length: 4\r\n\r\nabcd`,
  ],
  [
    "two Content-Lengths that agree",
    `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
    `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\nabc`,
  ],
  [
    "a Content-Length with a sign",
    `POST / HTTP/1.1\r\n${H}Content-Length: +3\r\n\r\nabc`,
    `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\nabc`,
  ],
  [
    "a Content-Length list",
    `POST / HTTP/1.1\r\n${H}Content-Length: 3, 3\r\n\r\nabc`,
    `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\nabc`,
  ],
  [
    "Content-Length and Transfer-Encoding (CL.TE)",
    `POST / HTTP/1.1\r\n${H}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n${H}\r\n`,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  [
    "an unknown Transfer-Encoding (TE.TE)",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  [
    "two codings",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n`,
  ],
  [
    "two Transfer-Encodings",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  [
    "HTTP/1.0 with Transfer-Encoding",
    `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST / HTTP/1.0\r\n${H}Content-Length: 0\r\n\r\n`,
  ],
  ["two Hosts", `GET / HTTP/1.1\r\n${H}${H}\r\n`, `GET / HTTP/1.1\r\n${H}\r\n`],
  ["no Host", "GET / HTTP/1.1\r\nX: 1\r\n\r\n", `GET / HTTP/1.1\r\n${H}\r\n`],
  ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", `GET / HTTP/1.1\r\n${H}\r\n`],
  ["a Host with userinfo", `GET / HTTP/1.1\r\nHost: x@${HOST}\r\n\r\n`, `GET / HTTP/1.1\r\n${H}\r\n`],
  ["an absolute target", `GET https://${HOST}/ HTTP/1.1\r\n${H}\r\n`, `GET / HTTP/1.1\r\n${H}\r\n`],
  ["a nested CONNECT", `CONNECT ${HOST}:443 HTTP/1.1\r\n${H}\r\n`, `GET / HTTP/1.1\r\n${H}\r\n`],
  [
    "more than 100 fields",
    `GET / HTTP/1.1\r\n${H}${fields(100)}\r\n`,
    `GET / HTTP/1.1\r\n${H}${fields(90)}\r\n`,
  ],
  [
    "a head over 64 KiB",
    `GET / HTTP/1.1\r\n${H}${Array.from({ length: 9 }, (_, i) => `X-${i}: ${long}\r\n`).join("")}\r\n`,
    `GET / HTTP/1.1\r\n${H}X-0: ${"a".repeat(6000)}\r\n\r\n`,
  ],
  [
    "a target over 8 KiB",
    `GET /${long} HTTP/1.1\r\n${H}\r\n`,
    `GET /${"a".repeat(7000)} HTTP/1.1\r\n${H}\r\n`,
  ],
  ["a fragment in the target", `GET /#x HTTP/1.1\r\n${H}\r\n`, `GET /x HTTP/1.1\r\n${H}\r\n`],
  ["a blank in the target", `GET /a b HTTP/1.1\r\n${H}\r\n`, `GET /a%20b HTTP/1.1\r\n${H}\r\n`],
  ["HTTP/0.9", "GET /\r\n", `GET / HTTP/1.1\r\n${H}\r\n`],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", `GET / HTTP/1.1\r\n${H}\r\n`],
  [
    "an upgrade to h2c",
    `GET / HTTP/1.1\r\n${H}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n`,
    `GET / HTTP/1.1\r\n${H}Connection: keep-alive\r\n\r\n`,
  ],
  [
    "an unknown expectation",
    `POST / HTTP/1.1\r\n${H}Expect: x\r\nContent-Length: 0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${H}Content-Length: 0\r\n\r\n`,
  ],
  [
    "a chunk size that is not hexadecimal",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  ],
  [
    "a chunk longer than its size",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n`,
  ],
  [
    "a chunk size that ends in a bare LF",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  ],
  [
    "a chunk extension without end",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3;${"x".repeat(300)}\r\nabc\r\n0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n`,
  ],
  [
    "a bare LF in the trailers",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\n\r\n\r\n`,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n\r\n`,
  ],
]

describe("inside a tunnel", () => {
  test("what is ambiguous is refused and closed, and the plain form of it passes", async () => {
    await using it = await rig()
    for (const [name, attack, control] of ATTACKS) {
      it.seen.length = 0
      using bad = await openTunnel(it.egress, HOST)
      const refused = await bad.ask(attack)
      expect([name, refused.status]).toEqual([name, 400])
      expect([name, refused.headers["x-bottle-block"]]).toEqual([name, "egress/bad-request"])
      expect([name, await bad.rest()]).toEqual([name, ""])
      expect([name, it.seen]).toEqual([name, []])

      using good = await openTunnel(it.egress, HOST)
      const served = await good.ask(control)
      expect([name, served.status, served.body]).toEqual([name, 200, "served"])
      expect([name, it.seen.length]).toEqual([name, 1])
    }
  }, 60_000)

  test("an upgrade that is not WebSocket is refused by name, and the same request without it passes", async () => {
    await using it = await rig()
    using client = await openTunnel(it.egress, HOST)
    const refused = await client.ask(`GET / HTTP/1.1\r\n${H}Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n`)
    expect(refused.status).toBe(403)
    expect(refused.headers["x-bottle-block"]).toBe("egress/upgrade-not-allowed")
    expect((await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)).body).toBe("served")
  })

  test("a Host that names another host is refused, and the tunnel's own passes", async () => {
    await using it = await rig()
    using client = await openTunnel(it.egress, HOST)
    const refused = await client.ask("GET / HTTP/1.1\r\nHost: other.example.test\r\n\r\n")
    expect(refused.headers["x-bottle-block"]).toBe("egress/host-mismatch")
    const port = await client.ask(`GET / HTTP/1.1\r\nHost: ${HOST}:8443\r\n\r\n`)
    expect(port.headers["x-bottle-block"]).toBe("egress/host-mismatch")
    expect(it.seen).toEqual([])
    expect((await client.ask(`GET / HTTP/1.1\r\nHost: ${HOST.toUpperCase()}.:443\r\n\r\n`)).status).toBe(200)
  })
})

describe("on the proxy's own socket", () => {
  const CONTROL = `CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`
  test.each([
    ["a path as target", `GET / HTTP/1.1\r\n${H}\r\n`],
    ["an https URL as target", `GET https://${HOST}/ HTTP/1.1\r\n${H}\r\n`],
    ["a CONNECT without port", `CONNECT ${HOST} HTTP/1.1\r\n${H}\r\n`],
    ["a CONNECT with userinfo", `CONNECT x@${HOST}:443 HTTP/1.1\r\n${H}\r\n`],
    ["a CONNECT with a body", `CONNECT ${HOST}:443 HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\nabc`],
    ["two Hosts", `CONNECT ${HOST}:443 HTTP/1.1\r\n${H}${H}\r\n`],
    ["a bare LF", `CONNECT ${HOST}:443 HTTP/1.1\n${H}\r\n`],
  ])("%s is refused", async (_, attack) => {
    await using egress = await startEgress({ routes: [route(HOST)] })
    using bad = await openProxy(egress.socket)
    const refused = await bad.ask(attack)
    expect(refused.status).toBe(400)
    expect(refused.headers["x-bottle-block"]).toBe("egress/bad-request")
    using good = await openProxy(egress.socket)
    good.send(CONTROL)
    expect(await good.until(/\r\n\r\n/)).toStartWith("HTTP/1.1 200 ")
  })

  test("bytes that are not TLS close the tunnel and stand in the ledger", async () => {
    await using egress = await startEgress({ routes: [route(HOST)] })
    using client = await openProxy(egress.socket)
    client.send(CONTROL)
    await client.until(/\r\n\r\n/)
    client.send("SSH-2.0-OpenSSH_9.2\r\n")
    expect(await client.rest()).toBe("")
    const event = await egress.event((one) => one.kind === "tunnel-refused")
    expect(event.data).toMatchObject({ host: HOST, reason: "the tunnel does not begin with TLS" })
  })
})
