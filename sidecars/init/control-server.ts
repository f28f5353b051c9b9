/** The control socket: reads requests of the host program, one at a time per connection, and writes the answers. */
import { chmodSync, mkdirSync, rmSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { dirname } from "node:path"
import type { Readable, Writable } from "node:stream"
import type { LedgerHead } from "../../src/policy/ledger.ts"
import {
  CONTROL_LINE_MAX,
  type ControlAnswer,
  type ControlRequest,
  controlRequest,
} from "../../src/policy/wire/control.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { readLines, writeLine } from "../../src/runtime/lines.ts"

/** Connections at once: an attached start, a log that follows, and a few commands. */
const MAX_CONNECTIONS = 32

/** The last answer of a connection, which from then on belongs to a session. */
export interface SessionAnswer {
  answer: ControlAnswer
  /** inner's connection */
  session: Socket
}

/** Answers one request; a request that streams yields more than one answer. `gone` tells that the client left. */
export type ControlHandler = (
  request: ControlRequest,
  gone: AbortSignal,
) => AsyncIterable<ControlAnswer | SessionAnswer>

/** Listens on `path`, in a folder that only init's user may enter. */
export async function serveControl(
  path: string,
  handler: ControlHandler,
  head: () => LedgerHead,
): Promise<Server> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  chmodSync(dirname(path), 0o700)
  rmSync(path, { force: true })
  const server = createServer((socket) => void serve(socket, handler, head))
  server.maxConnections = MAX_CONNECTIONS
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(path, () => resolve())
  })
  chmodSync(path, 0o600)
  return server
}

async function serve(socket: Socket, handler: ControlHandler, head: () => LedgerHead): Promise<void> {
  const gone = new AbortController()
  socket.on("error", () => {})
  socket.on("close", () => gone.abort())
  await serveStreams(socket, socket, { handler, head, gone: gone.signal })
  // What was answered last leaves first.
  socket.destroySoon()
}

/**
 * Serves the host over init's own stdin and stdout, which a container engine joins before init runs: the first load
 * needs no program inside. Nobody but who may use the engine can write there.
 */
export function serveStdio(handler: ControlHandler, head: () => LedgerHead): Promise<void> {
  return serveStreams(process.stdin, process.stdout, { handler, head, gone: new AbortController().signal })
}

interface Service {
  handler: ControlHandler
  head: () => LedgerHead
  /** Tells that the client left */
  gone: AbortSignal
}

async function serveStreams(
  input: Readable,
  output: Writable,
  { handler, head, gone }: Service,
): Promise<void> {
  let session: Socket | undefined
  try {
    requests: for await (const line of readLines(input, CONTROL_LINE_MAX, { keepOpen: true })) {
      for await (const answer of answers(line, handler, gone, head)) {
        if ("session" in answer) {
          session = answer.session
          await writeLine(output, answer.answer)
          break requests
        }
        await writeLine(output, answer)
      }
    }
    // Behind the loop: as long as its iterator listens for "readable", a stream does not flow.
    if (session !== undefined) await join(input, output, session)
  } catch {
    // The client left, or sent a line beyond the bound: either way nobody listens any more.
    session?.destroy()
  }
}

/** Passes bytes both ways until one side has ended: a client that leaves ends its part in the session. */
function join(input: Readable, output: Writable, session: Socket): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      session.destroy()
      resolve()
    }
    input.once("end", end)
    input.once("close", end)
    input.once("error", end)
    output.once("error", end)
    session.once("error", end)
    session.once("end", resolve)
    session.once("close", () => resolve())
    session.pipe(output, { end: false })
    input.pipe(session)
    input.resume()
  })
}

async function* answers(
  line: string,
  handler: ControlHandler,
  gone: AbortSignal,
  head: () => LedgerHead,
): AsyncIterable<ControlAnswer | SessionAnswer> {
  try {
    yield* handler(parse(line), gone)
  } catch (error) {
    yield { type: "error", reason: reasonOf(error).slice(0, 4096), head: head() }
  }
}

/** A request holds secrets, so a bad one is described by the places that are wrong and never quoted. */
function parse(line: string): ControlRequest {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new Error("the request is not JSON")
  }
  const result = controlRequest.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join(".") || "request"}: ${issue.code}`)
  throw new Error(`the request does not fit the protocol: ${issues.join("; ")}`)
}
