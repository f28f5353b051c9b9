/**
 * A program on a terminal that inner holds, so that nothing ends with the window of whoever looks at it: any number of
 * hosts join and leave, each sees first what the screen has now.
 */
import { ScreenBuffer } from "../../src/policy/terminal/replay.ts"
import {
  FRAME,
  type Frame,
  parsePayload,
  type SessionExit,
  sessionSignal,
  type TerminalSize,
  terminalSize,
} from "../../src/policy/wire/session.ts"
import { type PtyProcess, type PtyRequest, spawnOnPty } from "../../src/runtime/pty.ts"
import type { Peer } from "./peer.ts"
import { hangUp } from "./process-session.ts"
import { StartFault } from "./start-fault.ts"

/** Recent output that is kept for whoever joins, in bytes: some full screens of a colourful program. */
const SCREEN_BYTES = 256 * 1024
/** Typed before the program runs, in bytes; more is dropped. */
const EARLY_INPUT_BYTES = 64 * 1024
/** Time the window stays smaller when someone joins, in milliseconds: programs wait for a resize to settle. */
const SMALLER_MS = 150
/** What a terminal has that nobody looks at yet. */
const UNSEEN: TerminalSize = { rows: 24, columns: 80 }

interface Viewer {
  peer: Peer
  /** Did not read for so long that its screen is sent anew when it does */
  behind: boolean
}

export class TerminalProgram {
  readonly #exit: (code: number) => SessionExit
  readonly #screen = new ScreenBuffer(SCREEN_BYTES)
  readonly #viewers = new Set<Viewer>()
  #program: PtyProcess | undefined
  #size: TerminalSize = UNSEEN
  #early: Uint8Array[] = []
  #earlyBytes = 0
  /** Input that the terminal has and the program has not, by who sent it, in bytes */
  #untaken: { peer: Peer; bytes: number }[] = []
  #exited = Promise.withResolvers<number>()
  #over = false
  #left: (() => void) | undefined

  /** `exit` makes what hosts are told at the end. */
  constructor(exit: (code: number) => SessionExit = (code) => ({ code })) {
    this.#exit = exit
  }

  /** Starts the program. Throws a StartFault. */
  start(argv: string[], env: Record<string, string>, cwd: string): number {
    const program = spawn(argv, {
      ...{ env, cwd, ...this.#size },
      output: (chunk) => this.#output(chunk),
      drained: () => this.#drained(),
    })
    this.#program = program
    for (const { peer } of this.#viewers) peer.tell(FRAME.begun)
    for (const bytes of this.#early.splice(0)) program.write(bytes)
    // The host that asked for it left before it began.
    if (this.#viewers.size === 0) this.#left?.()
    void program.exited.then((code) => this.#end(code))
    return program.pid
  }

  /** Exit status; every host has it by then. */
  get exited(): Promise<number> {
    return this.#exited.promise
  }

  signal(name: NodeJS.Signals): void {
    this.#program?.signal(name)
  }

  /** Ends the program and what it started. */
  hangUp(): void {
    if (this.#program !== undefined) hangUp(this.#program.pid)
  }

  /** Joins a host with a window of that size. `left` is called when the last one has gone. */
  join(peer: Peer, size: TerminalSize | undefined, left?: () => void): void {
    const viewer: Viewer = { peer, behind: false }
    this.#left = left
    const asBefore = size !== undefined && this.#isSize(size)
    if (size !== undefined) this.#resize(size)
    if (this.#program !== undefined) {
      peer.tell(FRAME.begun)
      peer.send(FRAME.output, this.#screen.replay())
      if (asBefore) this.#redraw()
    }
    this.#viewers.add(viewer)
    peer.listen({
      frame: (frame) => this.#input(frame, peer),
      gone: () => {
        this.#viewers.delete(viewer)
        if (this.#viewers.size === 0) this.#left?.()
      },
    })
  }

  #input({ kind, payload }: Frame, peer: Peer): void {
    if (kind === FRAME.resize) this.#resize(parsePayload(terminalSize, payload))
    else if (kind === FRAME.signal) this.signal(parsePayload(sessionSignal, payload).signal)
    else if (kind === FRAME.input) this.#type(payload, peer)
  }

  #type(bytes: Uint8Array, peer: Peer): void {
    if (this.#program !== undefined && !this.#over) {
      this.#untaken.push({ peer, bytes: bytes.length })
      this.#program.write(bytes)
      return
    }
    peer.taken(bytes.length)
    this.#earlyBytes += bytes.length
    if (this.#earlyBytes <= EARLY_INPUT_BYTES) this.#early.push(Uint8Array.from(bytes))
  }

  #drained(): void {
    for (const { peer, bytes } of this.#untaken.splice(0)) peer.taken(bytes)
  }

  #output(chunk: Uint8Array): void {
    this.#screen.push(chunk)
    for (const viewer of this.#viewers) {
      if (viewer.behind) continue
      if (viewer.peer.behind) this.#catchUp(viewer)
      else viewer.peer.send(FRAME.output, chunk)
    }
  }

  /** The terminal cannot be made to wait, so a host that does not read misses what it would not have seen anyway. */
  #catchUp(viewer: Viewer): void {
    viewer.behind = true
    viewer.peer.onceDrained(() => {
      if (!viewer.behind) return
      viewer.behind = false
      viewer.peer.send(FRAME.output, this.#screen.replay())
    })
  }

  #isSize({ rows, columns }: TerminalSize): boolean {
    return this.#size.rows === rows && this.#size.columns === columns
  }

  #resize(size: TerminalSize): void {
    if (this.#isSize(size)) return
    this.#size = size
    this.#program?.resize(size.rows, size.columns)
  }

  /** Programs draw their screen anew when its size changes: for a moment it is one line smaller. */
  #redraw(): void {
    const { rows, columns } = this.#size
    if (rows < 2) return
    this.#program?.resize(rows - 1, columns)
    setTimeout(() => this.#program?.resize(this.#size.rows, this.#size.columns), SMALLER_MS)
  }

  async #end(code: number): Promise<void> {
    this.#over = true
    this.#drained()
    const peers = [...this.#viewers].map(({ peer }) => peer)
    for (const viewer of this.#viewers) {
      // Its screen has the last words too.
      if (viewer.behind) viewer.peer.send(FRAME.output, this.#screen.replay())
      viewer.behind = false
      viewer.peer.tell(FRAME.exit, this.#exit(code))
    }
    this.#exited.resolve(code)
    await Promise.all(peers.map((peer) => peer.end()))
  }
}

function spawn(argv: string[], request: PtyRequest): PtyProcess {
  try {
    return spawnOnPty(argv, request)
  } catch (error) {
    throw new StartFault(argv[0] ?? "", error)
  }
}
