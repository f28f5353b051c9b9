/** What is bounded ends in a refusal or a wait, not in growth. */
import { expect, test } from "bun:test"
import { once } from "node:events"
import type { ServerResponse } from "node:http"
import { connect } from "node:net"
import { CLIENTS_MAX, PER_HOST_MAX } from "../../../sidecars/egress/limits.ts"
import { route, startEgress } from "../../fixtures/egress.ts"
import { openProxy, openTunnel, type RawClient } from "../../fixtures/raw-client.ts"
import { createTestAuthority } from "../../fixtures/test-authority.ts"
import { startHttpsOrigin } from "../../fixtures/tls-origin.ts"

const HOST = "api.example.test"
const MIB = 1024 * 1024

test("one connection too many is refused at once, and accepted when another one has gone", async () => {
  await using egress = await startEgress({ routes: [] })
  const clients: RawClient[] = []
  // In groups that the kernel's queue holds even when the daemon is slow to accept.
  while (clients.length < CLIENTS_MAX) {
    clients.push(...(await Promise.all(Array.from({ length: 64 }, () => openProxy(egress.socket)))))
  }
  try {
    using refused = await openProxy(egress.socket)
    expect(await refused.rest()).toStartWith("HTTP/1.1 503 ")
    const last = clients.pop()!
    // Its answer tells that the daemon has seen it go.
    await last.ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await last.rest()
    last.socket.end()
    await last.closed
    using accepted = await openProxy(egress.socket)
    const answer = await accepted.ask("GET http://bottle.internal/ HTTP/1.1\r\nHost: bottle.internal\r\n\r\n")
    expect(answer.status).toBe(200)
  } finally {
    for (const client of clients) client[Symbol.dispose]()
  }
}, 30_000)

test("a connection too many is closed even by a client that never closes its side", async () => {
  await using egress = await startEgress({ routes: [] })
  const clients: RawClient[] = []
  while (clients.length < CLIENTS_MAX) {
    clients.push(...(await Promise.all(Array.from({ length: 64 }, () => openProxy(egress.socket)))))
  }
  const stubborn = connect({ path: egress.socket, allowHalfOpen: true })
  try {
    stubborn.on("error", () => {})
    const closed = new Promise<void>((resolve) => stubborn.once("close", () => resolve()))
    stubborn.resume()
    await once(stubborn, "end")
    // Writing succeeds for as long as the daemon holds its end open.
    const push = () => void (stubborn.destroyed || stubborn.write("x", () => setImmediate(push)))
    push()
    await closed
  } finally {
    stubborn.destroy()
    for (const client of clients) client[Symbol.dispose]()
  }
}, 30_000)

test("answers that a client does not read do not pile up, and all come once it reads", async () => {
  const routes = Array.from({ length: 400 }, (_, i) => route(`host-${i}.example.test`))
  await using egress = await startEgress({ routes })
  const request = "GET http://bottle.internal/policy HTTP/1.1\r\nHost: bottle.internal\r\n\r\n"
  const count = 2_000
  using other = await openProxy(egress.socket)
  const first = await other.ask(request)
  const size = first.head.length + first.body.length
  expect(count * size).toBeGreaterThan(100 * MIB)
  const before = egress.memory().now

  const client = connect(egress.socket)
  try {
    client.pause()
    client.write(request.repeat(count))
    // As long as all of them would have taken: the daemon has one thread for both connections.
    for (let i = 0; i < 200; i++) expect((await other.ask(request)).status).toBe(200)
    expect(egress.memory().now - before).toBeLessThan(64 * MIB)

    let bytes = 0
    const whole = new Promise<void>((resolve) => {
      client.on("data", (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes >= count * size) resolve()
      })
    })
    client.resume()
    await whole
    expect(bytes).toBe(count * size)
  } finally {
    client.destroy()
  }
}, 30_000)

test("requests beyond the connections of one host wait for one, and all are served", async () => {
  const authority = await createTestAuthority()
  const waiting: ServerResponse[] = []
  let full: () => void = () => {}
  const reached = new Promise<void>((resolve) => {
    full = resolve
  })
  let released = false
  await using origin = await startHttpsOrigin(authority, [HOST], (_, response) => {
    if (released) return void response.end("served")
    waiting.push(response)
    if (waiting.length === PER_HOST_MAX) full()
  })
  await using egress = await startEgress({
    routes: [route(HOST)],
    hosts: { [HOST]: origin.address },
    extraCa: authority.cert,
  })
  const clients = await Promise.all(Array.from({ length: PER_HOST_MAX + 16 }, () => openTunnel(egress, HOST)))
  try {
    const answers = clients.map((client) => client.ask(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`))
    await reached
    released = true
    for (const response of waiting) response.end("served")
    for (const answer of await Promise.all(answers)) expect(answer.body).toBe("served")
    expect(waiting.length).toBe(PER_HOST_MAX)
    expect(origin.connections).toBeLessThanOrEqual(PER_HOST_MAX)
  } finally {
    for (const client of clients) client[Symbol.dispose]()
  }
}, 30_000)
