/**
 * The Docker Engine's own API over its local socket, for the few calls on the path of every start: a call takes
 * milliseconds where a run of the docker command takes tens. An engine that is not behind a local socket (another
 * machine, a context over ssh) has no Engine here, and the docker command does the same.
 */
import { createHash } from "node:crypto"
import { readFileSync, statSync } from "node:fs"
import { createConnection, type Socket } from "node:net"
import { join } from "node:path"
import { PassThrough, Writable } from "node:stream"
import type { ControlStreams } from "../../gateway/control-client.ts"
import { BottleError, reasonOf } from "../../runtime/error.ts"
import { type HostEnv, hostEnv, userHome } from "../../runtime/home.ts"
import { requestOverUnix } from "../../runtime/unix-http.ts"

/** First API that has all we call (Docker 20.10); every later engine speaks it. */
const API = "/v1.41"
/** An engine that does not answer within this is not well, in milliseconds. */
const WITHIN_MS = 60_000
/** Largest answer, in bytes: what an engine says of itself is some kilobytes */
const ANSWER_MAX = 4 * 1024 * 1024
/** Stream numbers of an attached container without a terminal (Engine API, "Stream format") */
const STDOUT = 1

export interface EngineAnswer {
  status: number
  /** Parsed JSON, undefined for an empty answer */
  body: unknown
}

export interface EngineImage {
  /** Content id, `sha256:...` */
  id: string
  labels: Record<string, string>
}

export class Engine {
  readonly #socket: string

  constructor(socket: string) {
    this.#socket = socket
  }

  /** The engine that the docker command would use, when it is behind a local socket. */
  static here(env: HostEnv = hostEnv()): Engine | undefined {
    const socket = localSocket(env)
    return socket === undefined ? undefined : new Engine(socket)
  }

  async call(method: "GET" | "POST", path: string, signal?: AbortSignal): Promise<EngineAnswer> {
    const late = AbortSignal.timeout(WITHIN_MS)
    const { status, text } = await requestOverUnix(this.#socket, method, API + path, {
      signal: signal === undefined ? late : AbortSignal.any([signal, late]),
      max: ANSWER_MAX,
    })
    return { status, body: text.trim() === "" ? undefined : JSON.parse(text) }
  }

  /** Id and labels of an image; undefined when it is not there. */
  async image(reference: string, signal?: AbortSignal): Promise<EngineImage | undefined> {
    const { status, body } = await this.call("GET", `/images/${reference}/json`, signal)
    if (status === 404) return undefined
    const image = body as { Id?: string; Config?: { Labels?: Record<string, string> | null } } | undefined
    if (status === 200 && image?.Id) return { id: image.Id, labels: image.Config?.Labels ?? {} }
    throw new BottleError({
      what: "Docker does not say which images it has",
      why: `the engine answered ${status}`,
    })
  }

  /** Starts a container. Throws a BottleError with the engine's own words. */
  async start(container: string, doing: string, signal?: AbortSignal): Promise<void> {
    const { status, body } = await this.call("POST", `/containers/${container}/start`, signal)
    if (status === 204 || status === 304) return
    const why = (body as { message?: string } | undefined)?.message ?? `the engine answered ${status}`
    throw new BottleError({
      what: `Could not ${doing}`,
      why,
      next: "Run `docker info` to see that Docker is well",
    })
  }

  /** Joins stdin and stdout of a container, which may not run yet. Throws when the engine refuses. */
  async attach(container: string): Promise<ControlStreams> {
    const socket = await connect(this.#socket)
    const query = "stream=1&stdin=1&stdout=1"
    const head = [
      `POST ${API}/containers/${container}/attach?${query} HTTP/1.1`,
      "Host: docker",
      "Connection: Upgrade",
      "Upgrade: tcp",
      "Content-Length: 0",
    ]
    socket.write(`${head.join("\r\n")}\r\n\r\n`)
    const early = await upgraded(socket)
    const output = new PassThrough()
    const frames = new FrameReader(output)
    if (early.length > 0) frames.push(early)
    socket.on("data", (chunk: Buffer) => {
      frames.push(chunk)
      if (!output.writableNeedDrain) return
      socket.pause()
      output.once("drain", () => socket.resume())
    })
    let complaint = ""
    socket.on("error", (error) => {
      complaint = reasonOf(error)
    })
    socket.on("close", () => output.end())
    const input = new Writable({
      write: (chunk, _encoding, done) => {
        socket.write(chunk, (error) => done(error))
      },
    })
    return {
      input,
      output,
      complaint: () => complaint,
      [Symbol.asyncDispose]: async () => {
        // Only our end is closed: the container keeps its stdin and runs on.
        socket.destroy()
      },
    }
  }
}

function connect(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path })
    socket.once("connect", () => {
      socket.off("error", reject)
      resolve(socket)
    })
    socket.once("error", reject)
  })
}

/** Waits for `101`. Answers with what came behind the head; throws for any other answer. */
function upgraded(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let seen = Buffer.alloc(0)
    const settle = (action: () => void) => {
      socket.off("data", onData)
      socket.off("error", onError)
      socket.off("close", onClose)
      action()
    }
    const onError = (error: Error) => settle(() => reject(error))
    const onClose = () => onError(new Error("the engine closed the connection"))
    const onData = (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk])
      const end = seen.indexOf("\r\n\r\n")
      if (end < 0) {
        if (seen.length > 64 * 1024) onError(new Error("the engine's answer has no end"))
        return
      }
      const status = seen.toString("latin1", 0, seen.indexOf("\r\n"))
      const rest = seen.subarray(end + 4)
      if (/^HTTP\/1\.1 (101|200) /.test(status)) settle(() => resolve(rest))
      else onError(new Error(`the engine refused to attach: ${status}`))
    }
    socket.on("data", onData)
    socket.once("error", onError)
    socket.once("close", onClose)
  })
}

/** Takes stdout out of the multiplexed stream: 8 bytes of head (stream, 3 zeros, length), then that many bytes. */
class FrameReader {
  readonly #output: PassThrough
  #held: Buffer = Buffer.alloc(0)

  constructor(output: PassThrough) {
    this.#output = output
  }

  push(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    while (this.#held.length >= 8) {
      const length = this.#held.readUInt32BE(4)
      if (this.#held.length < 8 + length) return
      if (this.#held[0] === STDOUT) this.#output.write(this.#held.subarray(8, 8 + length))
      this.#held = this.#held.subarray(8 + length)
    }
  }
}

interface ContextMeta {
  Endpoints?: { docker?: { Host?: string } }
}

/** Path of the engine's socket as the docker command finds it: DOCKER_HOST, then the context, then the default. */
export function localSocket(env: HostEnv): string | undefined {
  const host = env.DOCKER_HOST || contextHost(env)
  const path =
    host === undefined ? "/var/run/docker.sock" : host.startsWith("unix://") ? host.slice(7) : undefined
  return path !== undefined && statSync(path, { throwIfNoEntry: false })?.isSocket() ? path : undefined
}

function contextHost(env: HostEnv): string | undefined {
  const folder = env.DOCKER_CONFIG || join(userHome(env), ".docker")
  const name =
    env.DOCKER_CONTEXT || readJson<{ currentContext?: string }>(join(folder, "config.json"))?.currentContext
  if (name === undefined || name === "" || name === "default") return undefined
  const digest = createHash("sha256").update(name).digest("hex")
  const meta = readJson<ContextMeta>(join(folder, "contexts", "meta", digest, "meta.json"))
  // A context that cannot be read is the docker command's to complain of.
  return meta?.Endpoints?.docker?.Host ?? "unknown"
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T
  } catch {
    return undefined
  }
}
