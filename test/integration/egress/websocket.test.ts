/** WebSocket through egress: carried both ways, uncompressed, without the credential coming back. */
import { expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import type { TLSSocket } from "node:tls"
import { type Egress, type EgressOptions, route, startEgress } from "../../fixtures/egress.ts"
import { openTunnel, type RawClient } from "../../fixtures/raw-client.ts"
import { createTestAuthority } from "../../fixtures/test-authority.ts"
import { startRawOrigin } from "../../fixtures/tls-origin.ts"
import {
  acceptOf,
  acceptWebSocket,
  type Frame,
  frame,
  maskedFrame,
  takeFrames,
} from "../../fixtures/websocket-server.ts"

const HOST = "api.example.test"
const KEY = "dGhlIHNhbXBsZSBub25jZQ=="
const HANDSHAKE = `GET /ws HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n`

async function rig(handler: (socket: TLSSocket) => void, options: EgressOptions = {}) {
  const authority = await createTestAuthority()
  const origin = await startRawOrigin(authority, [HOST], handler)
  const egress = await startEgress({
    routes: [route(HOST)],
    hosts: { [HOST]: origin.address },
    extraCa: authority.cert,
    ...options,
  })
  return {
    egress,
    async [Symbol.asyncDispose]() {
      await egress[Symbol.asyncDispose]()
      await origin[Symbol.asyncDispose]()
    },
  }
}

async function shake(egress: Egress): Promise<RawClient> {
  const client = await openTunnel(egress, HOST)
  client.send(HANDSHAKE)
  const head = await client.until(/\r\n\r\n/)
  expect(head).toStartWith("HTTP/1.1 101 ")
  expect(head).toContain(`Sec-WebSocket-Accept: ${acceptOf(KEY)}`)
  return client
}

/** Reads frames until as many are complete. */
async function frames(client: RawClient, count: number): Promise<Frame[]> {
  let bytes = Buffer.alloc(0)
  for (;;) {
    const { frames: complete } = takeFrames(bytes)
    if (complete.length >= count) return complete
    bytes = Buffer.concat([bytes, Buffer.from(await client.until(/[\s\S]/), "latin1")])
  }
}

test("messages of every size and kind are carried both ways, and compression is not offered", async () => {
  let offered = ""
  await using it = await rig((socket) => {
    acceptWebSocket(
      socket,
      (head) => {
        offered = head
      },
      (one) => socket.write(frame(one.text, one.opcode, one.fin)),
    )
  })
  using client = await shake(it.egress)
  expect(offered.toLowerCase()).not.toContain("sec-websocket-extensions")
  const long = "y".repeat(300)
  client.socket.write(
    Buffer.concat([
      maskedFrame("hello"),
      maskedFrame(long, 2),
      maskedFrame("frag", 1, false),
      maskedFrame("", 9),
      maskedFrame("ment", 0, true),
    ]),
  )
  expect(await frames(client, 5)).toEqual([
    { fin: true, opcode: 1, text: "hello" },
    { fin: true, opcode: 2, text: long },
    { fin: false, opcode: 1, text: "frag" },
    { fin: true, opcode: 9, text: "" },
    { fin: true, opcode: 0, text: "ment" },
  ])
  const event = await it.egress.event((one) => one.kind === "allow")
  expect(event.data).toMatchObject({ status: 101, path: "/ws", host: HOST })
})

test("the credential is taken out of messages, also across fragments with control frames between", async () => {
  const token = `sk-${randomBytes(16).toString("hex")}`
  const send = (socket: TLSSocket) => {
    socket.write(frame(`whole ${token} end`))
    socket.write(frame(`first ${token.slice(0, 10)}`, 1, false))
    socket.write(frame("ping", 9))
    socket.write(frame(token.slice(10, 20), 0, false))
    socket.write(frame(`${token.slice(20)} last`, 0, true))
    socket.write(frame(Buffer.from(token).toString("base64"), 2))
    socket.write(frame(token, 10))
  }
  const options = (auth: boolean): EgressOptions => ({
    routes: [route(HOST, auth ? { auth: { scheme: "bearer", credential: "api" } } : {})],
    tokens: { api: token },
  })
  const serve = (socket: TLSSocket) =>
    acceptWebSocket(
      socket,
      () => send(socket),
      () => {},
    )
  await using it = await rig(serve, options(true))
  using client = await shake(it.egress)
  const got = await frames(client, 7)
  expect(got.map(({ fin, opcode }) => [fin, opcode])).toEqual([
    [true, 1],
    [false, 1],
    [true, 9],
    [false, 0],
    [true, 0],
    [true, 2],
    [true, 10],
  ])
  const data = got.filter((one) => one.opcode < 8).map((one) => one.text)
  expect(data.join("|")).not.toContain(token)
  expect(data.slice(1, 4).join("")).not.toContain(token)
  expect(data[0]).toBe(`whole ${"*".repeat(token.length)} end`)
  expect(data.slice(1, 4).join("")).toBe(`first ${"*".repeat(token.length)} last`)
  expect(got[2]!.text).toBe("ping")
  expect(got[6]!.text).toBe("*".repeat(token.length))
  expect(JSON.stringify(got)).not.toContain(Buffer.from(token).toString("base64").slice(0, 20))
  // The control: the same frames on a route without a credential are left alone.
  await using control = await rig(serve, options(false))
  using plain = await shake(control.egress)
  expect((await frames(plain, 1))[0]!.text).toBe(`whole ${token} end`)
})

test("an upstream that compresses although nobody offered it is refused", async () => {
  await using it = await rig((socket) => {
    acceptWebSocket(
      socket,
      () => {},
      () => {},
      "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    )
  })
  using client = await openTunnel(it.egress, HOST)
  const refused = await client.ask(HANDSHAKE)
  expect([refused.status, refused.headers["x-bottle-block"]]).toEqual([502, "egress/upstream-protocol"])
})

test("a frame that could not be looked into ends the connection where a credential was sent", async () => {
  await using it = await rig(
    (socket) => {
      acceptWebSocket(
        socket,
        () => {
          const compressed = frame("x")
          compressed[0]! |= 0x40
          socket.write(compressed)
        },
        () => {},
      )
    },
    {
      routes: [route(HOST, { auth: { scheme: "bearer", credential: "api" } })],
      tokens: { api: "abcdefgh12345678" },
    },
  )
  using client = await shake(it.egress)
  expect(await client.rest()).toBe("")
})

test("an upstream that refuses the handshake is heard", async () => {
  await using it = await rig((socket) => {
    socket.once("data", () => socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno"))
  })
  using client = await openTunnel(it.egress, HOST)
  const answer = await client.ask(HANDSHAKE)
  expect([answer.status, answer.body]).toEqual([401, "no"])
})
