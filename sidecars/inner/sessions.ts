/** The sessions of a sandbox: hosts that join the agent's streams, and commands that run beside the agent. */
import { constants } from "node:os"
import type { Launch, SessionRequest } from "../../src/policy/wire/lifeline.ts"
import { FRAME } from "../../src/policy/wire/session.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { Peer } from "./peer.ts"
import { PipedProgram } from "./piped-program.ts"
import { StartFault } from "./start-fault.ts"
import { TerminalProgram } from "./terminal-program.ts"

type Exec = Extract<SessionRequest, { kind: "exec" }>
type Attach = Extract<SessionRequest, { kind: "attach" }>

/** Status of what was killed, as all is that is left when the agent has ended */
const KILLED = 128 + constants.signals.SIGKILL
/** Time in which hosts take the end of their commands when the agent has ended, in milliseconds. */
const LAST_ENDS_MS = 1000

export class Sessions {
  readonly #socket: string
  readonly #terminal = new TerminalProgram()
  readonly #pipes = new PipedProgram()
  /** Ends of the commands that run beside the agent */
  readonly #beside = new Set<Promise<number>>()
  #launch: Launch | undefined
  #ended = false

  constructor(socket: string) {
    this.#socket = socket
  }

  /** The agent's program on streams of ours. Rejects when it cannot be started. */
  async start(
    argv: string[],
    launch: Launch,
  ): Promise<{ pid: number; program: TerminalProgram | PipedProgram }> {
    this.#launch = launch
    const { env, cwd } = launch
    if (launch.streams === "terminal") {
      return { pid: this.#terminal.start(argv, env, cwd), program: this.#terminal }
    }
    const pid = await this.#pipes.start(argv, { env, cwd, input: false })
    return { pid, program: this.#pipes }
  }

  /** Environment and folder for commands run beside an agent that has inner's own streams. */
  remember(launch: Launch): void {
    this.#launch = launch
  }

  /** The agent has ended, and what runs beside it is ended now. */
  agentEnded(): void {
    this.#ended = true
  }

  /** Resolves when the hosts of ended commands have been told, or do not listen. */
  async told(): Promise<void> {
    await Promise.race([
      Promise.all(this.#beside),
      new Promise((late) => setTimeout(late, LAST_ENDS_MS).unref()),
    ])
  }

  /** Joins a host to what it asked for; one that cannot be served is told. */
  async join(token: string, request: SessionRequest): Promise<void> {
    const peer = await Peer.connect(this.#socket, token)
    try {
      if (request.kind === "exec") await this.#exec(peer, request)
      else this.#attach(peer, request)
    } catch (error) {
      const code = error instanceof StartFault ? { code: error.code } : {}
      peer.tell(FRAME.fault, { reason: reasonOf(error).slice(0, 1024), ...code })
      await peer.end()
    }
  }

  #attach(peer: Peer, { size }: Attach): void {
    const streams = this.#launch?.streams
    if (size === undefined) {
      if (streams === "terminal") throw new Error("its agent is on a terminal")
      this.#pipes.join(peer)
      return
    }
    if (streams === "pipes") throw new Error("its agent does one task, without a terminal")
    this.#terminal.join(peer, size)
  }

  async #exec(peer: Peer, { argv, terminal }: Exec): Promise<void> {
    if (this.#ended) throw new Error("its agent has ended")
    if (this.#launch === undefined) throw new Error("its agent does not run yet")
    const { env, cwd } = this.#launch
    const exit = (code: number) => (this.#ended && code === KILLED ? { code, agent_ended: true } : { code })
    if (terminal === undefined) {
      const program = new PipedProgram(exit)
      await program.start(argv, { env, cwd, input: true })
      this.#follow(program.exited)
      program.join(peer, () => program.hangUp())
      return
    }
    const program = new TerminalProgram(exit)
    program.join(peer, terminal.size, () => program.hangUp())
    program.start(argv, { ...env, TERM: terminal.term || "dumb" }, cwd)
    this.#follow(program.exited)
  }

  #follow(exited: Promise<number>): void {
    this.#beside.add(exited)
    void exited.then(() => this.#beside.delete(exited))
  }
}
