/**
 * A program on a terminal that inner holds, so that nothing ends with the window of whoever looks at it: any number of
 * hosts join and leave, each sees first what the screen has now.
 */
import { ScreenBuffer } from "../../src/policy/terminal/replay.ts"
import { QuestionFilter } from "../../src/policy/terminal/unasked.ts"
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

/** Time a host has to take the program's last output, in milliseconds: one that was stopped must not hold the bottle. */
const LAST_OUTPUT_MS = 2000

interface Viewer {
  peer: Peer
  /** Its window; absent for one that only looks on */
  size: TerminalSize | undefined
  /** Did not read for so long that its screen is sent anew when it does */
  behind: boolean
}

export class TerminalProgram {
  readonly #exit: (code: number) => SessionExit
  readonly #screen = new ScreenBuffer(SCREEN_BYTES)
  /** In the order in which they joined: the terminal of the first one answers the program's questions */
  readonly #viewers = new Set<Viewer>()
  /** What all but the first get; absent while there is one at most */
  #unasked: QuestionFilter | undefined
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

  /** Exit status; every host that reads has it by then. */
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
    const viewer: Viewer = { peer, size, behind: false }
    this.#left = left
    this.#viewers.add(viewer)
    if (this.#viewers.size === 2) this.#unasked = new QuestionFilter(this.#screen.partial())
    const asBefore = !this.#fit()
    if (this.#program !== undefined) {
      peer.tell(FRAME.begun)
      this.#showAll(viewer)
      if (asBefore) this.#redraw()
    }
    peer.listen({ frame: (frame) => this.#input(viewer, frame), gone: () => this.#leave(viewer) })
  }

  #leave(viewer: Viewer): void {
    const first = this.#isFirst(viewer)
    this.#viewers.delete(viewer)
    const [next] = this.#viewers
    if (next === undefined) this.#left?.()
    // It has got whole sequences only, and goes on in the midst of one.
    else if (first && !next.behind) next.peer.send(FRAME.output, this.#unasked?.partial() ?? new Uint8Array())
    if (this.#viewers.size < 2) this.#unasked = undefined
    this.#fit()
  }

  #input(viewer: Viewer, { kind, payload }: Frame): void {
    if (kind === FRAME.resize) {
      viewer.size = parsePayload(terminalSize, payload)
      this.#fit()
    } else if (kind === FRAME.signal) this.signal(parsePayload(sessionSignal, payload).signal)
    else if (kind === FRAME.input) this.#type(payload, viewer.peer)
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
    const unasked = this.#unasked?.push(chunk)
    for (const viewer of this.#viewers) {
      if (viewer.behind) continue
      if (viewer.peer.behind) this.#catchUp(viewer)
      else viewer.peer.send(FRAME.output, this.#isFirst(viewer) ? chunk : (unasked ?? chunk))
    }
  }

  /** The terminal cannot be made to wait, so a host that does not read misses what it would not have seen anyway. */
  #catchUp(viewer: Viewer): void {
    viewer.behind = true
    viewer.peer.onceDrained(() => {
      if (!viewer.behind) return
      viewer.behind = false
      this.#showAll(viewer)
    })
  }

  /** Whole sequences for those that get no other ones. */
  #showAll(viewer: Viewer): void {
    const all = this.#screen.replay()
    const shown = this.#isFirst(viewer) ? all : all.subarray(0, all.length - this.#screen.partial().length)
    if (shown.length === 0) return
    viewer.peer.tell(FRAME.screen)
    viewer.peer.send(FRAME.output, shown)
  }

  #isFirst(viewer: Viewer): boolean {
    const [first] = this.#viewers
    return viewer === first
  }

  /** The smallest of all windows, so that everyone sees all of it. Answers whether that is another size than before. */
  #fit(): boolean {
    const sizes = [...this.#viewers].flatMap(({ size }) => size ?? [])
    if (sizes.length === 0) return false
    const rows = Math.min(...sizes.map((size) => size.rows))
    const columns = Math.min(...sizes.map((size) => size.columns))
    if (rows === this.#size.rows && columns === this.#size.columns) return false
    this.#size = { rows, columns }
    this.#program?.resize(rows, columns)
    return true
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
    const viewers = [...this.#viewers]
    for (const viewer of viewers) {
      // Its screen has the last words too.
      if (viewer.behind) this.#showAll(viewer)
      viewer.behind = false
      viewer.peer.tell(FRAME.exit, this.#exit(code))
    }
    const taken = Promise.all(viewers.map(({ peer }) => peer.end()))
    await Promise.race([taken, new Promise((late) => setTimeout(late, LAST_OUTPUT_MS))])
    this.#exited.resolve(code)
  }
}

function spawn(argv: string[], request: PtyRequest): PtyProcess {
  try {
    return spawnOnPty(argv, request)
  } catch (error) {
    throw new StartFault(argv[0] ?? "", error)
  }
}
