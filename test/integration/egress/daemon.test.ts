/** The daemon as init sees it: commands, generations, tunnels that a policy ends, what it tells the ledger. */
import { describe, expect, test } from "bun:test"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { connect as connectNet, createServer as createNet, type Server, type Socket } from "node:net"
import type { TLSSocket } from "node:tls"
import { type Egress, route, startEgress } from "../../fixtures/egress.ts"
import { openProxy, openTunnel } from "../../fixtures/raw-client.ts"
import { createTestAuthority, type TestAuthority } from "../../fixtures/test-authority.ts"
import { loopbackAddress, type Origin, startHttpsOrigin, startRawOrigin } from "../../fixtures/tls-origin.ts"
import { acceptWebSocket } from "../../fixtures/websocket-server.ts"

const HOST = "api.example.test"
const OTHER = "other.example.test"
const ask = (host: string, path = "/") => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`

/** An upstream that answers `/slow` only when it is told to. */
async function slowOrigin(authority: TestAuthority) {
  let release: () => void = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  let begun: () => void = () => {}
  const asked = new Promise<void>((resolve) => {
    begun = resolve
  })
  const origin = await startHttpsOrigin(authority, [HOST, OTHER], async (request, response) => {
    if (request.url === "/slow") {
      response.write("first ")
      begun()
      await released
    }
    response.end("served")
  })
  return { origin, asked, release: () => release() }
}

async function loaded(
  authority: TestAuthority,
  origin: Origin,
  routes = [route(HOST), route(OTHER)],
): Promise<Egress> {
  return startEgress({
    routes,
    hosts: { [HOST]: origin.address, [OTHER]: origin.address },
    extraCa: authority.cert,
  })
}

describe("commands", () => {
  test("nothing listens before `load`, and `load` is answered when something does", async () => {
    await using egress = await startEgress({ routes: [route(HOST)] }, false)
    expect(existsSync(egress.socket)).toBe(false)
    expect(await egress.command(egress.load)).toEqual({ type: "live", generation: 1 })
    expect(existsSync(egress.socket)).toBe(true)
    expect(egress.log()).toContain("loaded 1 routes, generation 1\n")
  })

  test("an empty gateway refuses everything and says how it is loaded, then takes a load", async () => {
    await using egress = await startEgress({ routes: [route(HOST)] }, false)
    const reload = "bottle reload test-00000"
    expect(await egress.command({ type: "empty", reload })).toEqual({ type: "live", generation: 0 })
    for (const line of [`CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`, ask(HOST)]) {
      using client = await openProxy(egress.socket)
      const refused = await client.ask(line.replace("GET /", `GET http://${HOST}/`), "GET")
      expect([refused.status, refused.headers["x-bottle-block"]]).toEqual([503, "egress/not-loaded"])
      expect(JSON.parse(refused.body).ask).toContain(reload)
    }
    expect(await egress.command(egress.load)).toEqual({ type: "live", generation: 1 })
    using client = await openProxy(egress.socket)
    expect((await client.ask(ask("bottle.internal", "http://bottle.internal/policy"))).status).toBe(200)
  })

  test("a bad command is refused, tells no value, and changes nothing", async () => {
    const authority = await createTestAuthority()
    const { origin } = await slowOrigin(authority)
    await using _ = origin
    await using egress = await loaded(authority, origin)
    const { policy } = egress.load
    const bad: unknown[] = [
      { type: "policy" },
      { type: "policy", policy: { ...policy, generation: 2, routes: [{ ...route("not a host") }] } },
      { type: "policy", policy: { ...policy, generation: 2, routes: [route(HOST), route(HOST)] } },
      {
        type: "policy",
        policy: { ...policy, generation: 2, routes: [route(HOST, { private: ["10.0.0.1/8"] })] },
      },
      {
        type: "policy",
        policy: {
          ...policy,
          generation: 2,
          routes: [route(HOST, { auth: { scheme: "header:Transfer-Encoding", credential: "x" } })],
        },
      },
      { type: "load", ...{ ca: { cert: "x", key: "sk-very-secret-key" } }, extra_ca: "", tokens: {}, policy },
      { ...egress.load, extra_ca: "not PEM" },
      { type: "nonsense", token: "sk-very-secret-key" },
    ]
    for (const command of bad) {
      const answer = await egress.command(command)
      expect(answer).toMatchObject({ type: "refused", generation: 1 })
    }
    expect(egress.log()).not.toContain("sk-very-secret-key")
    using client = await openTunnel(egress, HOST)
    expect((await client.ask(ask(HOST))).body).toBe("served")
  })

  test("the end of stdin ends the daemon and takes its socket along", async () => {
    await using egress = await startEgress({ routes: [] })
    const exit = once(egress.process, "exit")
    egress.process.stdin!.end()
    expect(await exit).toEqual([0, null])
    expect(existsSync(egress.socket)).toBe(false)
  })
})

describe("a new policy", () => {
  test("closes the tunnel of a route that is gone within a second, and lets the others finish", async () => {
    const authority = await createTestAuthority()
    const { origin, asked, release } = await slowOrigin(authority)
    await using _ = origin
    await using egress = await loaded(authority, origin)
    using idle = await openTunnel(egress, HOST)
    expect((await idle.ask(ask(HOST))).status).toBe(200)
    using kept = await openTunnel(egress, OTHER)
    kept.send(ask(OTHER, "/slow"))
    await asked
    const changedAt = performance.now()
    expect(await egress.change([route(OTHER)])).toMatchObject({ type: "live", generation: 2 })
    await idle.closed
    expect(performance.now() - changedAt).toBeLessThan(1000)
    release()
    expect((await kept.answer()).body).toBe("first served")
    // The control: the same change without the removal leaves the tunnel open.
    using again = await openTunnel(egress, OTHER)
    expect((await again.ask(ask(OTHER))).status).toBe(200)
    await egress.change([route(OTHER), route(HOST)])
    expect((await again.ask(ask(OTHER))).status).toBe(200)
  })

  test("ends a request under way that it no longer allows", async () => {
    const authority = await createTestAuthority()
    const { origin, asked } = await slowOrigin(authority)
    await using _ = origin
    await using egress = await loaded(authority, origin)
    using client = await openTunnel(egress, HOST)
    client.send(ask(HOST, "/slow"))
    await asked
    await egress.change([route(HOST, { paths: ["/other"] })])
    await client.closed
  })

  test("ends a WebSocket of a route that is gone", async () => {
    const authority = await createTestAuthority()
    await using origin = await startRawOrigin(authority, [HOST], (socket) =>
      acceptWebSocket(
        socket,
        () => {},
        () => {},
      ),
    )
    await using egress = await loaded(authority, origin)
    using client = await openTunnel(egress, HOST)
    client.send(
      `GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    )
    await client.until(/\r\n\r\n/)
    await egress.change([])
    await client.closed
  })

  test("an address that it no longer opens is not used again, although a connection to it is still open", async () => {
    const authority = await createTestAuthority()
    const { origin } = await slowOrigin(authority)
    await using _ = origin
    await using egress = await loaded(authority, origin)
    using client = await openTunnel(egress, HOST)
    expect((await client.ask(ask(HOST))).status).toBe(200)
    await egress.change([route(HOST, { private: [] })])
    const refused = await client.ask(ask(HOST))
    expect(refused.headers["x-bottle-block"]).toBe("egress/private-address")
  })
})

describe("a route that is not looked into", () => {
  test("carries the bytes as they are, by name and address alone, and says so", async () => {
    const authority = await createTestAuthority()
    const { origin } = await slowOrigin(authority)
    await using _ = origin
    await using egress = await loaded(authority, origin, [route(HOST, { intercept: false })])
    // The upstream's own certificate arrives: nobody stood between.
    using through = await openTunnel({ ...egress, ca: authority.cert }, HOST)
    expect((await through.ask(ask(HOST))).body).toBe("served")
    expect((await egress.event((one) => one.kind === "tunnel")).data).toMatchObject({ host: HOST })
    // Another name in the handshake is refused, readably.
    using fronted = await openTunnel(egress, HOST, { sni: OTHER })
    expect((await fronted.ask(ask(OTHER))).headers["x-bottle-block"]).toBe("egress/sni-mismatch")
    // A policy that looks into it from now on ends it.
    await egress.change([route(HOST)])
    await through.closed
    expect((await egress.event((one) => one.kind === "tunnel-end")).data.down).toBeGreaterThan(0)
  })

  test("is refused readably when its address may not be dialled", async () => {
    const authority = await createTestAuthority()
    const { origin } = await slowOrigin(authority)
    await using _ = origin
    await using egress = await loaded(authority, origin, [route(HOST, { intercept: false, private: [] })])
    using client = await openTunnel(egress, HOST)
    const refused = await client.ask(ask(HOST))
    expect(refused.headers["x-bottle-block"]).toBe("egress/private-address")
    expect(origin.connections).toBe(0)
  })
})

describe("a proxy that the host has to leave through", () => {
  /** A CONNECT proxy that records heads and leads everything to one address. */
  async function startProxy(
    to: string,
  ): Promise<{ port: number; address: string; heads: string[]; server: Server }> {
    const heads: string[] = []
    const address = loopbackAddress()
    const server = createNet((client: Socket) => {
      client.on("error", () => client.destroy())
      client.once("data", (head) => {
        heads.push(head.toString())
        const upstream = connectNet(443, to)
        upstream.on("error", () => client.destroy())
        client.write("HTTP/1.1 200 OK\r\n\r\n")
        client.pipe(upstream)
        upstream.pipe(client)
      })
    })
    server.listen(0, address)
    await once(server, "listening")
    return { port: (server.address() as { port: number }).port, address, heads, server }
  }

  test("is used after the same checks, with its credential, and TLS goes through it end to end", async () => {
    const authority = await createTestAuthority()
    const { origin } = await slowOrigin(authority)
    await using _ = origin
    const proxy = await startProxy(origin.address)
    try {
      await using egress = await startEgress({
        routes: [route(HOST), route(OTHER, { private: [] })],
        hosts: { [HOST]: origin.address, [OTHER]: origin.address },
        extraCa: authority.cert,
        tokens: { proxy: "me:pass-word" },
        upstreamProxy: { host: proxy.address, port: proxy.port, credential: "proxy" },
      })
      using client = await openTunnel(egress, HOST)
      expect((await client.ask(ask(HOST))).body).toBe("served")
      expect(proxy.heads).toEqual([
        `CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\nProxy-Authorization: Basic ${btoa("me:pass-word")}\r\n\r\n`,
      ])
      using refused = await openTunnel(egress, OTHER)
      expect((await refused.ask(ask(OTHER))).headers["x-bottle-block"]).toBe("egress/private-address")
      expect(proxy.heads.length).toBe(1)
    } finally {
      proxy.server.close()
    }
  })
})

describe("the gateway's own host", () => {
  test("tells the rules without values, over http and https, and is never forwarded", async () => {
    await using egress = await startEgress({
      routes: [route(HOST, { paths: ["/v1/"], auth: { scheme: "bearer", credential: "secret-id" } })],
      tokens: { "secret-id": "sk-very-secret-key" },
    })
    using plain = await openProxy(egress.socket)
    const answer = await plain.ask(
      "GET http://bottle.internal/policy HTTP/1.1\r\nHost: bottle.internal\r\n\r\n",
    )
    expect(JSON.parse(answer.body)).toMatchObject({
      generation: 1,
      identity: "test-00000",
      routes: [{ host: HOST, paths: ["/v1/"], auth: "bearer", intercept: true, scheme: "https" }],
    })
    expect(answer.body).not.toContain("secret")
    using inside = await openTunnel(egress, "bottle.internal")
    expect(JSON.parse((await inside.ask(ask("bottle.internal", "/policy"))).body).generation).toBe(1)
    expect((await inside.ask(ask("bottle.internal"))).body).toContain("GET /policy")
  })
})

describe("the ledger", () => {
  test("gets equal denials as one event and a count", async () => {
    await using egress = await startEgress({ routes: [] })
    using client = await openTunnel(egress, HOST)
    for (let i = 0; i < 30; i++) await client.ask(ask(HOST, "/x"))
    const sum = await egress.event((one) => one.kind === "deny" && one.data.count !== undefined)
    expect(sum.data).toMatchObject({ rule: "host-not-allowed", host: HOST, path: "/x" })
    const denials = egress.events.filter((one) => one.kind === "deny")
    expect(denials.reduce((total, one) => total + Number(one.data.count ?? 1), 0)).toBe(30)
    expect(denials.length).toBeLessThan(5)
  })

  test("gets a request that left although its client hung up before an answer", async () => {
    const authority = await createTestAuthority()
    let arrived: () => void = () => {}
    const there = new Promise<void>((resolve) => {
      arrived = resolve
    })
    let got = 0
    await using origin = await startRawOrigin(authority, [HOST], (socket) => {
      socket.on("data", (chunk: Buffer) => {
        got += chunk.length
        if (got > 5_000) arrived()
      })
    })
    await using egress = await loaded(authority, origin)
    using client = await openTunnel(egress, HOST)
    client.send(`POST /out HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 9000\r\n\r\n${"x".repeat(5_000)}`)
    await there
    client.socket.destroy()
    const event = await egress.event((one) => one.kind === "allow")
    expect(event.data).toMatchObject({ method: "POST", host: HOST, path: "/out", status: 0, up: 5_000 })
  })

  test("gets no user and password of a URL", async () => {
    await using egress = await startEgress({ routes: [] })
    using client = await openProxy(egress.socket)
    await client.ask(`GET http://user:pass@${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    const event = await egress.event((one) => one.kind === "deny")
    expect(event.data).toMatchObject({ rule: "bad-request", host: HOST })
  })

  test("names the host of every denial, whatever its path", async () => {
    await using egress = await startEgress({ routes: [] })
    using client = await openTunnel(egress, HOST)
    for (let i = 0; i < 3; i++) await client.ask(`OPTIONS * HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    const sum = await egress.event((one) => one.kind === "deny" && one.data.count !== undefined)
    expect(sum.data).toMatchObject({ host: HOST, path: "*" })
  })

  test("gets no query, no control characters, and no more than the start of a path", async () => {
    await using egress = await startEgress({ routes: [] })
    using client = await openTunnel(egress, HOST)
    await client.ask(ask(HOST, `/${"p".repeat(2000)}?token=sk-very-secret-key`))
    const event = await egress.event((one) => one.kind === "deny")
    expect(String(event.data.path).length).toBeLessThanOrEqual(256)
    expect(JSON.stringify(event)).not.toContain("sk-very-secret-key")
  })
})

test("leaf certificates are for one name, TLS 1.2 or later, short-lived and not past their authority", async () => {
  await using egress = await startEgress({ routes: [] })
  using client = await openTunnel(egress, HOST)
  const tls = client.socket as TLSSocket
  const leaf = tls.getPeerCertificate()
  expect(leaf.subjectaltname).toBe(`DNS:${HOST}`)
  const life = Date.parse(leaf.valid_to) - Date.now()
  expect(life).toBeLessThanOrEqual(7 * 24 * 3_600_000)
  expect(Date.parse(leaf.valid_from)).toBeLessThan(Date.now() - 3_000_000)
  expect(tls.getProtocol()).toBe("TLSv1.3")
  expect(tls.alpnProtocol).toBe("http/1.1")
  using literal = await openTunnel(egress, "192.0.2.1", { sni: null })
  expect((literal.socket as TLSSocket).getPeerCertificate().subjectaltname).toBe("IP Address:192.0.2.1")
})
