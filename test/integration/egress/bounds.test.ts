/** What is bounded ends in a refusal or a wait, not in growth. */
import { expect, test } from "bun:test"
import type { ServerResponse } from "node:http"
import { CLIENTS_MAX, PER_HOST_MAX } from "../../../sidecars/egress/limits.ts"
import { route, startEgress } from "../../fixtures/egress.ts"
import { openProxy, openTunnel, type RawClient } from "../../fixtures/raw-client.ts"
import { createTestAuthority } from "../../fixtures/test-authority.ts"
import { startHttpsOrigin } from "../../fixtures/tls-origin.ts"

const HOST = "api.example.test"

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
