/** Each gate of egress, with the run in which that one gate is open and the same attempt succeeds. */
import { describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:net"
import type { Route } from "../../../src/policy/schema.ts"
import { type EgressOptions, route, startEgress } from "../../fixtures/egress.ts"
import { openProxy, openTunnel, type RawAnswer } from "../../fixtures/raw-client.ts"
import { createTestAuthority } from "../../fixtures/test-authority.ts"
import {
  loopbackAddress,
  type Recorded,
  startHttpsOrigin,
  startRawOrigin,
} from "../../fixtures/tls-origin.ts"

const HOST = "api.example.test"
const OTHER = "other.example.test"
const H = `Host: ${HOST}\r\n`
const secret = () => `sk-${randomBytes(18).toString("hex")}`
const ruleOf = (answer: RawAnswer) => answer.headers["x-bottle-block"]?.replace("egress/", "")

/** An upstream that records and a daemon that leads HOST and OTHER to it. */
async function rig(routes: Route[], options: EgressOptions = {}) {
  const authority = await createTestAuthority()
  const seen: Recorded[] = []
  const origin = await startHttpsOrigin(authority, [HOST, OTHER], (request, response) => {
    const { method = "", url = "", headers, rawHeaders } = request
    seen.push({ method, url, headers, rawHeaders, body: "" })
    response.end("served")
  })
  const egress = await startEgress({
    routes,
    hosts: { [HOST]: origin.address, [OTHER]: origin.address },
    extraCa: authority.cert,
    ...options,
  })
  return {
    egress,
    origin,
    seen,
    async ask(text: string, host = HOST): Promise<RawAnswer> {
      using client = await openTunnel(egress, host)
      return await client.ask(text)
    },
    async [Symbol.asyncDispose]() {
      await egress[Symbol.asyncDispose]()
      await origin[Symbol.asyncDispose]()
    },
  }
}

describe("rules", () => {
  test.each([
    ["host-not-allowed", [route(OTHER)], [route(HOST)], "GET / HTTP/1.1\r\n"],
    ["method-not-allowed", [route(HOST, { methods: ["GET"] })], [route(HOST)], "DELETE / HTTP/1.1\r\n"],
    ["path-not-allowed", [route(HOST, { paths: ["/v1/"] })], [route(HOST)], "GET /v2/x HTTP/1.1\r\n"],
    ["path-not-allowed", [route(HOST, { paths: ["/v1/"] })], [route(HOST)], "GET /v1/../v2/x HTTP/1.1\r\n"],
    ["path-not-allowed", [route(HOST, { paths: ["/v1/"] })], [route(HOST)], "GET /v1/%2e%2e/v2 HTTP/1.1\r\n"],
  ] as const)("%s holds, and falls with the rule", async (rule, closed, open, line) => {
    await using it = await rig([...closed])
    const refused = await it.ask(`${line}${H}\r\n`)
    expect(refused.status).toBe(403)
    expect(ruleOf(refused)).toBe(rule)
    const body = JSON.parse(refused.body)
    expect(body).toMatchObject({ by: "egress", rule, retryable: false })
    expect(body.ask).toContain("bottle routes edit test-00000")
    expect(refused.reason).toStartWith("egress: ")
    expect(it.seen).toEqual([])

    expect(await it.egress.change([...open])).toMatchObject({ type: "live" })
    expect((await it.ask(`${line}${H}\r\n`)).status).toBe(200)
    const event = await it.egress.event((one) => one.kind === "deny")
    expect(event.data).toMatchObject({ rule, host: HOST })
  })

  test("what is forwarded is the canonical path that was checked", async () => {
    await using it = await rig([route(HOST, { paths: ["/v1/"] })])
    expect((await it.ask(`GET //x/..//v1/./a%62c?q=%41 HTTP/1.1\r\n${H}\r\n`)).status).toBe(200)
    expect(it.seen[0]!.url).toBe("/v1/abc?q=%41")
  })

  test("git pushes are refused on every route, fetches are not", async () => {
    await using it = await rig([route(HOST)])
    const push = await it.ask(
      `GET /a.git/info/refs?service=git-receive-pack HTTP/1.1\r\n${H}User-Agent: git/2.39\r\n\r\n`,
    )
    expect(ruleOf(push)).toBe("git-push")
    expect(push.headers["content-type"]).toStartWith("text/plain")
    expect(push.body).toStartWith("egress: ")
    const fetched = await it.ask(`GET /a.git/info/refs?service=git-upload-pack HTTP/1.1\r\n${H}\r\n`)
    expect(fetched.status).toBe(200)
  })

  test("ports other than the scheme's are refused inside the tunnel", async () => {
    await using it = await rig([route(HOST)])
    using client = await openTunnel(it.egress, HOST, { port: 22 })
    const refused = await client.ask(`GET / HTTP/1.1\r\nHost: ${HOST}:22\r\n\r\n`)
    expect(ruleOf(refused)).toBe("port-not-allowed")
  })

  test("a server name that differs from the CONNECT target is refused readably", async () => {
    await using it = await rig([route(HOST), route(OTHER)])
    using fronted = await openTunnel(it.egress, HOST, { sni: OTHER })
    expect(ruleOf(await fronted.ask(`GET / HTTP/1.1\r\nHost: ${OTHER}\r\n\r\n`))).toBe("sni-mismatch")
    using nameless = await openTunnel(it.egress, HOST, { sni: null })
    expect(ruleOf(await nameless.ask(`GET / HTTP/1.1\r\n${H}\r\n`))).toBe("sni-mismatch")
    expect(it.seen).toEqual([])
    using right = await openTunnel(it.egress, HOST)
    expect((await right.ask(`GET / HTTP/1.1\r\n${H}\r\n`)).status).toBe(200)
  })

  test("plain http passes only where the route says so, and never to another port", async () => {
    await using egress = await startEgress({ routes: [route(HOST)] })
    using client = await openProxy(egress.socket)
    const refused = await client.ask(`GET http://${HOST}/ HTTP/1.1\r\n${H}\r\n`)
    expect(ruleOf(refused)).toBe("scheme-not-allowed")
    await egress.change([route(HOST, { scheme: "http" })])
    using again = await openProxy(egress.socket)
    const port = await again.ask(`GET http://${HOST}:8080/ HTTP/1.1\r\nHost: ${HOST}:8080\r\n\r\n`)
    expect(ruleOf(port)).toBe("port-not-allowed")
  })
})

describe("addresses", () => {
  test("a name that leads to a private address is refused, and passes when the route opens the range", async () => {
    await using it = await rig([route(HOST, { private: [] })])
    const refused = await it.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    expect(refused.status).toBe(403)
    expect(ruleOf(refused)).toBe("private-address")
    expect(it.origin.connections).toBe(0)
    await it.egress.change([route(HOST)])
    expect((await it.ask(`GET / HTTP/1.1\r\n${H}\r\n`)).body).toBe("served")
  })

  test("an answer that mixes an open and a refused address is refused as a whole", async () => {
    await using mixed = await rig([route(HOST)])
    const address = mixed.origin.address
    await using egress = await startEgress({
      routes: [route(HOST, { private: [`${address}/32`] }), route(OTHER, { private: [`${address}/32`] })],
      hosts: { [HOST]: [address, "10.11.12.13"], [OTHER]: address },
      extraCa: (mixed.egress.load as { extra_ca?: string }).extra_ca ?? "",
    })
    using bad = await openTunnel(egress, HOST)
    expect(ruleOf(await bad.ask(`GET / HTTP/1.1\r\n${H}\r\n`))).toBe("private-address")
    using good = await openTunnel(egress, OTHER)
    expect((await good.ask(`GET / HTTP/1.1\r\nHost: ${OTHER}\r\n\r\n`)).status).toBe(200)
  })

  test.each([
    ["169.254.169.254", "0.0.0.0/0"],
    ["0.0.0.0", "0.0.0.0/0"],
    ["224.0.0.1", "0.0.0.0/0"],
  ])("%s stays refused whatever the route opens", async (address, range) => {
    await using egress = await startEgress({ routes: [route(address, { private: [range] })] })
    using client = await openTunnel(egress, address, { sni: null })
    const refused = await client.ask(`GET / HTTP/1.1\r\nHost: ${address}\r\n\r\n`)
    expect(ruleOf(refused)).toBe("private-address")
  })

  test("an address of the host machine is refused as such, and passes when the route opens it", async () => {
    const authority = await createTestAuthority()
    await using origin = await startHttpsOrigin(authority, [HOST], (_, response) => response.end("served"))
    await using egress = await startEgress({
      routes: [route(HOST, { private: [] })],
      hosts: { [HOST]: origin.address },
      hostAddresses: [origin.address],
      extraCa: authority.cert,
    })
    using bad = await openTunnel(egress, HOST)
    const refused = await bad.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    expect(ruleOf(refused)).toBe("private-address")
    expect(JSON.parse(refused.body).why).toContain("the machine that runs the bottle")
    await egress.change([route(HOST)])
    using good = await openTunnel(egress, HOST)
    expect((await good.ask(`GET / HTTP/1.1\r\n${H}\r\n`)).status).toBe(200)
  })

  test("a name that does not resolve is told as such", async () => {
    await using egress = await startEgress({ routes: [route("nowhere.invalid")] })
    using client = await openTunnel(egress, "nowhere.invalid")
    const refused = await client.ask("GET / HTTP/1.1\r\nHost: nowhere.invalid\r\n\r\n")
    expect([refused.status, ruleOf(refused)]).toEqual([502, "name-not-resolved"])
  })

  test("nobody listening is told as such, and may be tried again", async () => {
    await using egress = await startEgress({ routes: [route(HOST)], hosts: { [HOST]: loopbackAddress() } })
    using client = await openTunnel(egress, HOST)
    const refused = await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    expect([refused.status, ruleOf(refused)]).toEqual([502, "upstream-unreachable"])
    expect(JSON.parse(refused.body).retryable).toBe(true)
  })
})

describe("credentials", () => {
  const auth = { scheme: "bearer", credential: "api" } as const

  test("the upstream gets the credential, the client only its placeholder", async () => {
    const token = secret()
    const placeholder = secret()
    await using it = await rig([route(HOST, { auth })], {
      tokens: { api: token },
      placeholders: [{ value: placeholder, hosts: [HOST] }],
    })
    const answer = await it.ask(
      `GET /?q=1&access_token=${placeholder} HTTP/1.1\r\n${H}Authorization: Bearer ${placeholder}\r\nX-Api_Key: ${placeholder}\r\nRange: bytes=0-1\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\nX-Keep: 1\r\n\r\n`,
    )
    expect(answer.status).toBe(200)
    const { headers, url } = it.seen[0]!
    expect(headers.authorization).toBe(`Bearer ${token}`)
    expect(headers["accept-encoding"]).toBe("identity")
    expect(headers["x-keep"]).toBe("1")
    expect(url).toBe("/?q=1")
    for (const gone of ["x-api_key", "range", "cookie"]) expect(headers[gone]).toBeUndefined()
    expect(JSON.stringify(it.seen)).not.toContain(placeholder)
    expect(answer.head + answer.body).not.toContain(token)
    expect(JSON.stringify(it.egress.events) + it.egress.log()).not.toContain(token)
  })

  test.each([
    ["basic", "user:pass-word-1234", "authorization", `Basic ${btoa("user:pass-word-1234")}`],
    ["token", "abcdefgh12345678", "authorization", "token abcdefgh12345678"],
    ["header:X-Api-Key", "abcdefgh12345678", "x-api-key", "abcdefgh12345678"],
  ])("the scheme %s is put where it belongs", async (scheme, value, header, expected) => {
    await using it = await rig([route(HOST, { auth: { scheme, credential: "api" } })], {
      tokens: { api: value },
    })
    await it.ask(`GET / HTTP/1.1\r\n${H}${header}: mine\r\n${header.replaceAll("-", "_")}: mine\r\n\r\n`)
    expect(it.seen[0]!.headers[header]).toBe(expected)
    expect(it.seen[0]!.rawHeaders).not.toContain("mine")
  })

  test("a key under the credential's name reaches the upstream in no spelling, as header or trailer", async () => {
    const token = secret()
    let seen = ""
    const authority = await createTestAuthority()
    await using origin = await startRawOrigin(authority, [HOST], (socket) => {
      socket.on("data", (chunk: Buffer) => {
        seen += chunk.toString("latin1")
        if (seen.endsWith("\r\n\r\n") && seen.includes("\r\n0\r\n")) {
          socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }
      })
    })
    const own = { auth: { scheme: "header:X-Acme", credential: "api" } }
    await using egress = await startEgress({
      routes: [route(HOST, own)],
      tokens: { api: token },
      hosts: { [HOST]: origin.address },
      extraCa: authority.cert,
    })
    const twins = "X.Acme: mine\r\nX_Acme: mine\r\nx-acme: mine\r\n"
    const request = `POST / HTTP/1.1\r\n${H}${twins}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n${twins}\r\n`
    using client = await openTunnel(egress, HOST)
    expect((await client.ask(request)).status).toBe(200)
    expect(seen).toContain(`X-Acme: ${token}\r\n`)
    expect(seen).toEndWith("0\r\nX-Sum: 1\r\n\r\n")
    expect(seen).not.toContain("mine")
    // The control: on a route without that credential the name is an ordinary one.
    seen = ""
    await egress.change([route(HOST)])
    using plain = await openTunnel(egress, HOST)
    await plain.ask(request)
    expect(seen.split("mine").length - 1).toBe(6)
  })

  test("a header named by Connection cannot take the credential or the framing along", async () => {
    const token = secret()
    await using it = await rig([route(HOST, { auth })], { tokens: { api: token } })
    const answer = await it.ask(
      `GET / HTTP/1.1\r\n${H}Connection: authorization, host, x-gone\r\nX-Gone: 1\r\n\r\n`,
    )
    expect(answer.status).toBe(200)
    expect(it.seen[0]!.headers).toMatchObject({ host: HOST, authorization: `Bearer ${token}` })
    expect(it.seen[0]!.headers["x-gone"]).toBeUndefined()
  })

  test("the client's own credentials are stripped from routes without one too", async () => {
    await using it = await rig([route(HOST)])
    await it.ask(
      `GET / HTTP/1.1\r\n${H}Authorization: Bearer mine\r\nProxy-Authorization: Basic mine\r\n\r\n`,
    )
    expect(it.seen[0]!.headers.authorization).toBeUndefined()
    expect(it.seen[0]!.headers["proxy-authorization"]).toBeUndefined()
  })

  test("a credential that is not loaded stops the request before anything is sent", async () => {
    await using it = await rig([route(HOST, { auth })], { tokens: {} })
    expect(ruleOf(await it.ask(`GET / HTTP/1.1\r\n${H}\r\n`))).toBe("credential-missing")
    expect(it.origin.connections).toBe(0)
    await using control = await rig([route(HOST, { auth })], { tokens: { api: secret() } })
    expect((await control.ask(`GET / HTTP/1.1\r\n${H}\r\n`)).status).toBe(200)
  })

  test("a placeholder towards a host it does not belong to stops the request, in every place it may hide", async () => {
    const value = secret()
    const spelled = [...value].map((c) => `%${c.charCodeAt(0).toString(16)}`).join("")
    const lines = [
      `GET /?x=${value} HTTP/1.1\r\n${H}`,
      `GET /${spelled} HTTP/1.1\r\n${H}`,
      `GET / HTTP/1.1\r\n${H}X-Note: the key ${value}!\r\n`,
      `GET / HTTP/1.1\r\n${H}Authorization: Basic ${btoa(`x:${value}`)}\r\n`,
    ]
    await using it = await rig([route(HOST)], { placeholders: [{ value, hosts: [OTHER] }] })
    for (const line of lines) {
      const answer = await it.ask(`${line}\r\n`)
      expect(ruleOf(answer)).toBe("placeholder-misused")
      expect(JSON.parse(answer.body).allowed).toBe(`the placeholder towards ${OTHER}`)
    }
    expect(it.seen).toEqual([])
    await using control = await rig([route(HOST)], { placeholders: [{ value, hosts: [HOST] }] })
    for (const line of lines) expect((await control.ask(`${line}\r\n`)).status).toBe(200)
  })
})

describe("the upstream's certificate", () => {
  async function with_(names: string[], days: number, trusted: boolean) {
    const authority = await createTestAuthority()
    const origin = await startHttpsOrigin(authority, names, (_, response) => response.end("served"), { days })
    const egress = await startEgress({
      routes: [route(HOST, { auth: { scheme: "bearer", credential: "api" } })],
      tokens: { api: secret() },
      hosts: { [HOST]: origin.address },
      extraCa: trusted ? authority.cert : "",
    })
    try {
      using client = await openTunnel(egress, HOST)
      return await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    } finally {
      await egress[Symbol.asyncDispose]()
      await origin[Symbol.asyncDispose]()
    }
  }

  test("must be trusted, in time, and for that name; then it passes", async () => {
    expect(ruleOf(await with_([HOST], 2, false))).toBe("upstream-certificate")
    expect(ruleOf(await with_([OTHER], 2, true))).toBe("upstream-certificate")
    expect(ruleOf(await with_([HOST], 0, true))).toBe("upstream-certificate")
    expect((await with_([HOST], 2, true)).status).toBe(200)
  })
})

describe("the upstream's answer", () => {
  const plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  async function answered(bytes: string, auth = false) {
    const authority = await createTestAuthority()
    const origin = await startRawOrigin(authority, [HOST], (socket) => {
      socket.once("data", () => socket.end(bytes, "latin1"))
    })
    const egress = await startEgress({
      routes: [route(HOST, auth ? { auth: { scheme: "bearer", credential: "api" } } : {})],
      tokens: { api: secret() },
      hosts: { [HOST]: origin.address },
      extraCa: authority.cert,
    })
    try {
      using client = await openTunnel(egress, HOST)
      return await client.ask(`GET / HTTP/1.1\r\n${H}\r\n`)
    } finally {
      await egress[Symbol.asyncDispose]()
      await origin[Symbol.asyncDispose]()
    }
  }

  test.each([
    ["both framings", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"],
    ["another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"],
    ["bare LFs", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"],
    ["a folded line", "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok"],
    ["no HTTP", "220 mail.example.test ESMTP\r\n\r\n"],
    ["a switch nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
  ])("with %s is refused", async (_, bytes) => {
    const refused = await answered(bytes)
    expect([refused.status, ruleOf(refused)]).toEqual([502, "upstream-protocol"])
    expect((await answered(plain)).body).toBe("ok")
  })

  test("that is coded although identity was asked for is refused where a credential was sent", async () => {
    const coded = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"
    const refused = await answered(coded, true)
    expect([refused.status, ruleOf(refused)]).toEqual([502, "response-undecodable"])
    expect((await answered(coded, false)).body).toBe("ok")
    expect((await answered(plain, true)).body).toBe("ok")
  })

  test("cannot speak in the gateway's name, nor lead around it", async () => {
    const answer = await answered(
      'HTTP/1.1 200 OK\r\nX-Bottle-Block: egress/x\r\nAlt-Svc: h3=":443"\r\nProxy-Authenticate: Basic\r\nKeep-Alive: timeout=5\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Keep: 1\r\nContent-Length: 2\r\n\r\nok',
    )
    expect(answer.headers["x-keep"]).toBe("1")
    for (const gone of ["x-bottle-block", "alt-svc", "proxy-authenticate", "keep-alive", "x-hop"]) {
      expect(answer.headers[gone]).toBeUndefined()
    }
  })

  test("that breaks off is not passed on as whole", async () => {
    const authority = await createTestAuthority()
    await using origin = await startRawOrigin(authority, [HOST], (socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"))
    })
    await using egress = await startEgress({
      routes: [route(HOST)],
      hosts: { [HOST]: origin.address },
      extraCa: authority.cert,
    })
    using client = await openTunnel(egress, HOST)
    client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    expect(await client.rest()).toEndWith("\r\n\r\nhalf")
  })

  test("that is reset where its end would be the connection's is not passed on as whole", async () => {
    const address = loopbackAddress()
    let reset = true
    const server = createServer((socket) => {
      socket.on("error", () => {})
      socket.once("data", () => {
        if (!reset) return void socket.end("HTTP/1.1 200 OK\r\n\r\nhalf")
        socket.write("HTTP/1.1 200 OK\r\n\r\nhalf", () => socket.resetAndDestroy())
      })
    })
    server.listen(80, address)
    await once(server, "listening")
    using _stop = { [Symbol.dispose]: () => void server.close() }
    await using egress = await startEgress({
      routes: [route(HOST, { scheme: "http" })],
      hosts: { [HOST]: address },
    })
    const request = `GET http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`
    using cut = await openProxy(egress.socket)
    cut.send(request)
    expect(await cut.rest()).not.toEndWith("0\r\n\r\n")
    reset = false
    using whole = await openProxy(egress.socket)
    whole.send(request)
    expect(await whole.rest()).toEndWith("4\r\nhalf\r\n0\r\n\r\n")
  })
})
