/** Time limits and back-pressure of a connection, by itself. */
import { expect, test } from "bun:test"
import { once } from "node:events"
import { connect, createServer, type Socket } from "node:net"
import { join } from "node:path"
import { HIGH_WATER_BYTES } from "../../sidecars/egress/limits.ts"
import { Wire } from "../../sidecars/egress/wire.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

/** Both ends of one connection. */
async function pair() {
  const folder = temporaryFolder()
  const path = join(folder.path, "s")
  const server = createServer({ allowHalfOpen: true })
  server.listen(path)
  await once(server, "listening")
  const accepted = once(server, "connection") as Promise<[Socket]>
  const peer = connect(path)
  peer.on("error", () => {})
  const [socket] = await accepted
  return {
    wire: new Wire(socket),
    peer,
    [Symbol.dispose]() {
      peer.destroy()
      socket.destroy()
      server.close()
      folder[Symbol.dispose]()
    },
  }
}

test("a fixed limit ends a connection however busy it is", async () => {
  using it = await pair()
  const closed = new Promise<void>((resolve) => it.peer.once("close", () => resolve()))
  it.wire.endAfter(300)
  // One byte at a time, as a slowloris does, for as long as it is let.
  it.peer.on("data", () => it.peer.write("x"))
  it.peer.write("x")
  void (async () => {
    while (!it.wire.closed) {
      if (it.wire.take() === undefined) await it.wire.more()
      else it.wire.write("y")
    }
  })()
  await closed
  expect(it.wire.closed).toBe(true)
})

test("an idle limit is put off by every byte, and ends the connection when none comes", async () => {
  using it = await pair()
  const started = performance.now()
  it.wire.idleAfter(400)
  let gone = false
  const closed = once(it.peer, "close").then(() => {
    gone = true
  })
  // Bytes keep coming for longer than the limit: the connection lives.
  for (let i = 0; i < 4; i++) {
    await new Promise((resolve) => setTimeout(resolve, 200))
    it.peer.write("x")
    await it.wire.more()
    it.wire.take()
  }
  expect(performance.now() - started).toBeGreaterThan(700)
  expect(gone).toBe(false)
  await closed
})

test("a sender is held back at the high-water mark, and goes on when bytes are taken", async () => {
  using it = await pair()
  const total = 8 * HIGH_WATER_BYTES
  it.peer.write(Buffer.alloc(total, "x"))
  let taken = 0
  while (taken < total) {
    // One read of the runtime may come on top of the mark.
    expect(it.wire.held).toBeLessThanOrEqual(3 * HIGH_WATER_BYTES)
    const piece = it.wire.take()
    if (piece === undefined) await it.wire.more()
    else taken += piece.length
  }
  expect(taken).toBe(total)
})

test("bytes given back come first, and the end shows only after the last of them", async () => {
  using it = await pair()
  it.peer.end("abc")
  await it.wire.more()
  const piece = it.wire.take()!
  it.wire.unread(piece.subarray(1))
  while (!it.wire.peerGone) await new Promise((resolve) => setImmediate(resolve))
  expect(it.wire.ended).toBe(false)
  expect(it.wire.take()!.toString()).toBe("bc")
  expect(it.wire.ended).toBe(true)
})

test("a connection that is lost is told from one that the peer ended", async () => {
  using ended = await pair()
  ended.peer.end()
  while (!ended.wire.closed) {
    if (ended.wire.ended) ended.wire.end()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(ended.wire.broken).toBe(false)
  using lost = await pair()
  lost.wire.endAfter(50)
  await lost.wire.more()
  expect([lost.wire.ended, lost.wire.broken]).toEqual([true, true])
})
