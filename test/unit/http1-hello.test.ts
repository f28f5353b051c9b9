/** The reader of ClientHellos, on those that a real client sends. */
import { expect, test } from "bun:test"
import { once } from "node:events"
import { createServer, type Socket } from "node:net"
import { connect } from "node:tls"
import { readHello } from "../../sidecars/egress/hello.ts"

/** What a client sends first. */
async function helloFor(servername: string | undefined): Promise<Buffer> {
  const server = createServer()
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as { port: number }
  const accepted = once(server, "connection") as Promise<[Socket]>
  const client = connect({ port, host: "127.0.0.1", ...(servername === undefined ? {} : { servername }) })
  client.on("error", () => {})
  const [socket] = await accepted
  const [bytes] = (await once(socket, "data")) as [Buffer]
  client.destroy()
  socket.destroy()
  server.close()
  return bytes
}

test("the name of a real handshake is read, and no name is told from one", async () => {
  expect(readHello(await helloFor("API.example.test"))).toEqual({ kind: "hello", name: "api.example.test" })
  expect(readHello(await helloFor(undefined))).toEqual({ kind: "hello", name: "" })
})

test("a handshake that is cut anywhere asks for more, and spread over records it is read alike", async () => {
  const hello = await helloFor("api.example.test")
  for (let size = 0; size < hello.length; size++) {
    expect(readHello(hello.subarray(0, size))).toEqual({ kind: "more" })
  }
  const message = hello.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += 100) {
    const part = message.subarray(at, at + 100)
    records.push(Buffer.from([22, 3, 1, 0, part.length]), part)
  }
  expect(readHello(Buffer.concat(records))).toEqual({ kind: "hello", name: "api.example.test" })
})

test("no change of a byte makes the reader fail or read past its end", async () => {
  const hello = await helloFor("api.example.test")
  for (let at = 0; at < hello.length; at++) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const changed = Buffer.from(hello)
      changed[at] = value
      expect(["hello", "more", "bad"]).toContain(readHello(changed).kind)
    }
  }
})

test("what is not TLS is told at its first byte", () => {
  for (const text of ["SSH-2.0-x\r\n", "GET / HTTP/1.1\r\n", "\x16\x02", "\x15\x03"]) {
    expect(readHello(Buffer.from(text, "latin1")).kind).toBe("bad")
  }
})

test("a handshake in records of one byte costs its length, not its square", () => {
  const message = Buffer.alloc(16_000)
  message[0] = 1
  message.writeUIntBE(16_380, 1, 3)
  const records = Buffer.concat([...message].map((byte) => Buffer.from([22, 3, 1, 0, 1, byte])))
  const startedAt = performance.now()
  expect(readHello(records).kind).toBe("bad")
  // Joined anew for each record it takes seconds, else a few milliseconds.
  expect(performance.now() - startedAt).toBeLessThan(500)
})
