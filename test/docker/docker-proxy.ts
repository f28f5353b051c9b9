/** Stands between bottle and Docker's socket, and tells of each call, so that a test acts at that very moment. */
import { createConnection, createServer, type Socket } from "node:net"

export interface DockerProxy extends AsyncDisposable {
  /** Value of DOCKER_HOST for those who are to pass by here */
  host: string
  /** Told of each call before Docker gets it; one for which it answers `drop` never arrives */
  onCall: (call: string) => "drop" | undefined
  /** Waits until nobody is connected any more */
  idle(): Promise<void>
}

/** The engine's own socket, unless the environment says otherwise. */
const REAL = (process.env.DOCKER_HOST ?? "unix:///var/run/docker.sock").replace(/^unix:\/\//, "")
/** Client's bytes that begin a call; others are bodies or streams. */
const CALL = /^(?:GET|HEAD|POST|PUT|DELETE) [^\r\n?]+/
/** A request to init on a gateway's attached stdin, a line; several may come at once. */
const REQUEST = /^\{"op":"[a-z]+"/gm

export async function startDockerProxy(socket: string): Promise<DockerProxy> {
  const open = new Set<Socket>()
  let changed = Promise.withResolvers<void>()
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const engine = createConnection({ path: REAL, allowHalfOpen: true })
    open.add(client)
    client.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1")
      const call = CALL.exec(text)
      for (const { 0: made, index } of call === null ? text.matchAll(REQUEST) : [call]) {
        if (proxy.onCall(made) !== "drop") continue
        engine.write(chunk.subarray(0, index))
        end()
        return
      }
      engine.write(chunk)
    })
    client.on("end", () => engine.end())
    engine.pipe(client)
    const end = () => {
      client.destroy()
      engine.destroy()
      open.delete(client)
      changed.resolve()
      changed = Promise.withResolvers()
    }
    for (const side of [client, engine]) side.on("error", end).on("close", end)
  })
  await new Promise<void>((listening) => server.listen(socket, listening))
  const proxy: DockerProxy = {
    host: `unix://${socket}`,
    onCall: () => undefined,
    idle: async () => {
      while (open.size > 0) await changed.promise
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of open) client.destroy()
      server.close()
    },
  }
  return proxy
}
