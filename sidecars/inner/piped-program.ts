/** A program on plain pipes that one host reads: what it writes waits until the host has taken it. */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync } from "node:fs"
import { constants } from "node:os"
import type { Readable, Writable } from "node:stream"
import {
  FRAME,
  type Frame,
  parsePayload,
  type SessionExit,
  sessionSignal,
} from "../../src/policy/wire/session.ts"
import { pipeFromChild, pipeToChild } from "../../src/runtime/pipe.ts"
import type { Peer } from "./peer.ts"
import { hangUp, signalGroup } from "./process-session.ts"
import { StartFault } from "./start-fault.ts"

interface Child {
  pid: number
  /** Absent for a program without input */
  stdin: Writable | undefined
  stdout: Readable
  stderr: Readable
  /** Exit status, or 128 plus the signal's number */
  exited: Promise<number>
}

/**
 * An ended program's last words are in its pipes already. One that it left behind may hold these open, and the agent
 * may open them by their names: after so many looks without a word, so many looks in all, or so many bytes more than
 * any pipe holds, it was not the program. Looks and not time: each comes behind what could be read before it, also
 * where this process had to wait for the processor.
 */
const LOOK_EVERY_MS = 100
const SILENT_LOOKS = 10
const LOOKS_MAX = 30
const LAST_WORDS_BYTES = 4 * 1024 * 1024

export class PipedProgram {
  readonly #exit: (code: number) => SessionExit
  readonly #exited = Promise.withResolvers<number>()
  #peer: Peer | undefined
  #child: Child | undefined
  #gone = false
  /** Output waits for the host */
  #paused = false
  /** Called with the bytes of each piece of output */
  #heard: ((bytes: number) => void) | undefined

  /** `exit` makes what the host is told at the end. */
  constructor(exit: (code: number) => SessionExit = (code) => ({ code })) {
    this.#exit = exit
  }

  /**
   * Starts the program, with the host's input or none; what it writes is read when a host has joined. Throws a
   * StartFault.
   */
  async start(
    argv: string[],
    { env, cwd, input }: { env: Record<string, string>; cwd: string; input: boolean },
  ): Promise<number> {
    const child = await spawned(argv, { env, cwd, input })
    this.#child = child
    if (this.#peer !== undefined) this.#connect(child, this.#peer)
    // The host that asked for it left before it began.
    else if (this.#gone) this.#discard(child)
    void child.exited.then((code) => this.#end(child, code))
    return child.pid
  }

  /** Exit status; the host has it by then. */
  get exited(): Promise<number> {
    return this.#exited.promise
  }

  signal(name: NodeJS.Signals): void {
    if (this.#child !== undefined) signalGroup(this.#child.pid, name)
  }

  /** Ends the program and what it started. */
  hangUp(): void {
    if (this.#child !== undefined) hangUp(this.#child.pid)
  }

  /** Joins the one host. `left` is called when it goes before the program ends. */
  join(peer: Peer, left?: () => void): void {
    if (this.#peer !== undefined) throw new Error("its output goes to another host already")
    this.#peer = peer
    if (this.#child !== undefined) this.#connect(this.#child, peer)
    peer.listen({
      frame: (frame) => this.#input(frame, peer),
      gone: () => {
        this.#gone = true
        this.#peer = undefined
        if (this.#child !== undefined) this.#discard(this.#child)
        left?.()
      },
    })
  }

  #connect(child: Child, peer: Peer): void {
    peer.tell(FRAME.begun)
    this.#read(child.stdout, FRAME.output, peer)
    this.#read(child.stderr, FRAME.errors, peer)
  }

  #read(from: Readable, kind: number, peer: Peer): void {
    from.on("data", (chunk: Buffer) => {
      peer.send(kind, chunk)
      this.#heard?.(chunk.length)
      if (!peer.behind) return
      from.pause()
      this.#paused = true
      peer.onceDrained(() => {
        this.#paused = false
        from.resume()
      })
    })
  }

  /** Nobody reads any more, and the program must not wait for it. */
  #discard(child: Child): void {
    child.stdin?.end()
    this.#paused = false
    for (const stream of [child.stdout, child.stderr]) {
      stream.removeAllListeners("data")
      stream.on("data", (chunk: Buffer) => this.#heard?.(chunk.length))
      stream.resume()
    }
  }

  #input({ kind, payload }: Frame, peer: Peer): void {
    const stdin = this.#child?.stdin
    if (kind === FRAME.signal) this.signal(parsePayload(sessionSignal, payload).signal)
    else if (kind === FRAME.inputEnd) stdin?.end()
    else if (kind === FRAME.input) {
      const taken = () => peer.taken(payload.length)
      // What a program does not want is taken all the same: the host has an end of input to come to.
      if (stdin?.writable) stdin.write(payload, taken)
      else taken()
    }
  }

  async #end(child: Child, code: number): Promise<void> {
    await this.#lastWords(child)
    const peer = this.#peer
    peer?.tell(FRAME.exit, this.#exit(code))
    // One that it left behind may hold the other end, and nobody writes for it any more.
    child.stdin?.destroy()
    await peer?.end()
    this.#exited.resolve(code)
  }

  /** Resolves when the program's output has been read to its end. While the host does not take it, it waits. */
  async #lastWords(child: Child): Promise<void> {
    const enough = Promise.withResolvers<void>()
    let bytes = 0
    let silent = 0
    let looks = 0
    this.#heard = (more) => {
      bytes += more
      silent = 0
      if (bytes > LAST_WORDS_BYTES) enough.resolve()
    }
    const look = setInterval(() => {
      // What the host takes its time for is nobody's fault in here.
      if (this.#paused) return
      silent += 1
      looks += 1
      if (silent >= SILENT_LOOKS || looks >= LOOKS_MAX) enough.resolve()
    }, LOOK_EVERY_MS)
    await Promise.race([Promise.all([child.stdout, child.stderr].map(ended)), enough.promise])
    clearInterval(look)
    this.#heard = undefined
  }
}

/** The leader of a session of its own, so that a signal reaches what it started too. */
async function spawned(
  argv: string[],
  { env, cwd, input }: { env: Record<string, string>; cwd: string; input: boolean },
): Promise<Child> {
  const [file = "", ...args] = argv
  const stdin = input ? pipeToChild() : undefined
  const [stdout, stderr] = [pipeFromChild(), pipeFromChild()]
  const pipes = [...(stdin === undefined ? [] : [stdin]), stdout, stderr]
  // EPIPE: a program may stop reading whenever it likes.
  stdin?.stream.on("error", () => {})
  const exited = Promise.withResolvers<number>()
  try {
    const child = spawn(file, args, {
      ...{ env, cwd, detached: true },
      stdio: [stdin?.fd ?? "ignore", stdout.fd, stderr.fd],
    })
    child.once("exit", (code, signal) =>
      exited.resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)),
    )
    const pid = await begun(child)
    return { pid, stdin: stdin?.stream, stdout: stdout.stream, stderr: stderr.stream, exited: exited.promise }
  } catch (error) {
    for (const { stream } of pipes) stream.destroy()
    throw new StartFault(file, error)
  } finally {
    for (const { fd } of pipes) closeSync(fd)
  }
}

function begun(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("spawn", () => resolve(child.pid ?? 0))
    child.once("error", reject)
  })
}

function ended(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    stream.once("end", () => resolve())
    stream.once("close", () => resolve())
  })
}
