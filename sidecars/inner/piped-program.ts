/** A program on plain pipes that one host reads: what it writes waits until the host has taken it. */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { constants } from "node:os"
import type { Readable, Writable } from "node:stream"
import { FRAME, type Frame, parsePayload, sessionSignal } from "../../src/policy/wire/session.ts"
import type { Peer } from "./peer.ts"

type Child = ChildProcessByStdio<Writable | null, Readable, Readable>

/** Time to read what an ended program had written: one that it left behind may hold its pipes. In milliseconds. */
const DRAIN_MS = 1000

export class PipedProgram {
  readonly #exited = Promise.withResolvers<number>()
  #peer: Peer | undefined
  #child: Child | undefined
  #gone = false

  /**
   * Starts the program, with the host's input or none; what it writes is read when a host has joined. Rejects when it
   * cannot be started.
   */
  async start(
    argv: string[],
    { env, cwd, input }: { env: Record<string, string>; cwd: string; input: boolean },
  ): Promise<number> {
    const [file = "", ...args] = argv
    const child: Child = input
      ? spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], env, cwd })
      : spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], env, cwd })
    child.stdin?.on("error", () => {})
    child.once("exit", (code, signal) => {
      void this.#end(child, code ?? 128 + (signal ? constants.signals[signal] : 0))
    })
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", () => resolve())
      child.once("error", (error) => reject(new Error(`cannot start ${file}: ${error.message}`)))
    })
    this.#child = child
    if (this.#peer !== undefined) this.#connect(child, this.#peer)
    // The host that asked for it left before it began.
    else if (this.#gone) this.#discard(child)
    return child.pid ?? 0
  }

  /** Exit status; the host has it by then. */
  get exited(): Promise<number> {
    return this.#exited.promise
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name)
  }

  /** Joins the one host. `left` is called when it goes before the program ends. */
  join(peer: Peer, left?: () => void): void {
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
      if (!peer.behind) return
      from.pause()
      peer.onceDrained(() => from.resume())
    })
  }

  /** Nobody reads any more, and the program must not wait for it. */
  #discard(child: Child): void {
    child.stdin?.end()
    for (const stream of [child.stdout, child.stderr]) {
      stream.removeAllListeners("data")
      stream.resume()
    }
  }

  #input({ kind, payload }: Frame, peer: Peer): void {
    if (kind === FRAME.signal) this.signal(parsePayload(sessionSignal, payload).signal)
    const stdin = this.#child?.stdin
    if (kind === FRAME.inputEnd) stdin?.end()
    if (kind === FRAME.input && stdin?.write(payload) === false) {
      peer.pause()
      stdin.once("drain", () => peer.resume())
    }
  }

  async #end(child: Child, code: number): Promise<void> {
    const drained = Promise.all([child.stdout, child.stderr].map(ended))
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((done) => {
      timer = setTimeout(done, DRAIN_MS)
    })
    // With a host that does not read the program's last words wait for it; without one nobody does.
    await Promise.race([drained, ...(this.#peer?.behind ? [] : [late])])
    clearTimeout(timer)
    const peer = this.#peer
    peer?.tell(FRAME.exit, { code })
    await peer?.end()
    this.#exited.resolve(code)
  }
}

function ended(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    stream.once("end", () => resolve())
    stream.once("close", () => resolve())
  })
}
