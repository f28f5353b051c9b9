/** The pool's count of connections, whatever the upstreams do with those that are idle. */
import { expect, test } from "bun:test"
import { once } from "node:events"
import { connect, createServer, type Socket } from "node:net"
import { join } from "node:path"
import { PER_HOST_MAX } from "../../sidecars/egress/limits.ts"
import { Pool, type Upstream } from "../../sidecars/egress/pool.ts"
import { Wire } from "../../sidecars/egress/wire.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

test("connections of one host stay within their bound when idle ones no longer fit", async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, "s")
  const accepted: Socket[] = []
  const server = createServer((socket) => {
    socket.on("error", () => {})
    accepted.push(socket)
  })
  server.listen(path)
  await once(server, "listening")
  const pool = new Pool()
  const open = new Set<Upstream>()
  const dial = async (): Promise<Upstream> => {
    const socket = connect(path)
    await once(socket, "connect")
    return { wire: new Wire(socket), address: "", reused: false }
  }
  const take = async (fits: boolean): Promise<Upstream> => {
    const upstream = await pool.acquire("k", { fresh: false, forceNew: false, fits: () => fits }, dial)
    open.add(upstream)
    return upstream
  }
  const give = (upstream: Upstream, clean: boolean): void => {
    open.delete(upstream)
    pool.release("k", upstream, clean)
  }
  try {
    // An idle connection, the origin's only one, is dropped in favour of a new one: over and over.
    for (let i = 0; i < 20; i++) {
      give(await take(true), true)
      give(await take(false), false)
    }
    for (let i = 0; i < PER_HOST_MAX; i++) await take(true)
    let waited = true
    const oneMore = take(true).then((upstream) => {
      waited = open.size < PER_HOST_MAX + 1
      return upstream
    })
    // A connection that did not have to wait would be there after the round trips of another dial.
    await once((await dial()).wire.socket.end(), "close")
    await Promise.race([oneMore, new Promise((resolve) => setImmediate(resolve))])
    give([...open][0]!, false)
    await oneMore
    expect(waited).toBe(true)
    expect(open.size).toBe(PER_HOST_MAX)
  } finally {
    for (const { wire } of open) wire.destroy()
    for (const socket of accepted) socket.destroy()
    server.close()
  }
})
