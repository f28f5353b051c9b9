/**
 * The control socket: reads the host program's requests, and writes the answers of each connection in the order of its
 * requests. A request is begun when it is read: what does not depend on the one before does not wait for it.
 */
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
/** Requests of one connection that are begun and not answered yet; the next is read when there is room. */
const BEGUN_MAX = 4

/** A client that was told of its session's end leaves within this, in milliseconds, or is left. */
const LEAVES_WITHIN_MS = 5000

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
  const begun: Promise<void>[] = []
  try {
    for await (const line of readLines(input, CONTROL_LINE_MAX, { keepOpen: true })) {
      const request = parsed(line)
      const work = answers(request, handler, gone, head)[Symbol.asyncIterator]()
      const first = work.next()
      const before = begun.at(-1)
      const written = (async () => {
        await before
        for (let next = await first; !next.done; next = await work.next()) {
          const answer = next.value
          if ("session" in answer) session = answer.session
          await writeLine(output, "session" in answer ? answer.answer : answer)
        }
      })()
      written.catch(() => {})
      begun.push(written)
      // What comes behind it may be the session's.
      if ("op" in request && request.op === "session") await written
      if (session !== undefined) break
      if (begun.length >= BEGUN_MAX) await begun.shift()
    }
    await begun.at(-1)
    // Behind the loop: as long as its iterator listens for "readable", a stream does not flow.
    if (session !== undefined) await join(input, output, session)
  } catch {
    // The client left, or sent a line beyond the bound: either way nobody listens any more.
    session?.destroy()
  }
}

/**
 * Passes bytes both ways. A client that leaves ends its part in the session; one whose session has ended may be writing
 * still, and would lose what it has not read if we closed under it: so it is the one to close.
 */
function join(input: Readable, output: Writable, session: Socket): Promise<void> {
  return new Promise((resolve) => {
    let late: NodeJS.Timeout | undefined
    const end = () => {
      clearTimeout(late)
      session.destroy()
      resolve()
    }
    const sessionEnded = () => {
      if (late !== undefined) return
      late = setTimeout(end, LEAVES_WITHIN_MS)
      output.end()
      // What it says now is for nobody.
      input.unpipe(session)
      input.resume()
    }
    input.once("end", end)
    input.once("close", end)
    input.once("error", end)
    output.once("error", end)
    session.once("error", end)
    session.once("end", sessionEnded)
    session.once("close", sessionEnded)
    session.pipe(output, { end: false })
    input.pipe(session)
    input.resume()
  })
}

async function* answers(
  request: ControlRequest | Error,
  handler: ControlHandler,
  gone: AbortSignal,
  head: () => LedgerHead,
): AsyncIterable<ControlAnswer | SessionAnswer> {
  try {
    if (request instanceof Error) throw request
    yield* handler(request, gone)
  } catch (error) {
    yield { type: "error", reason: reasonOf(error).slice(0, 4096), head: head() }
  }
}

/** A request holds secrets, so a bad one is described by the places that are wrong and never quoted. */
function parsed(line: string): ControlRequest | Error {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return new Error("the request is not JSON")
  }
  const result = controlRequest.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join(".") || "request"}: ${issue.code}`)
  return new Error(`the request does not fit the protocol: ${issues.join("; ")}`)
}
