/** The sessions of a sandbox: hosts that join the agent's streams, and commands that run beside the agent. */
import type { Launch, SessionRequest } from "../../src/policy/wire/lifeline.ts"
import { FRAME } from "../../src/policy/wire/session.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { Peer } from "./peer.ts"
import { PipedProgram } from "./piped-program.ts"
import { TerminalProgram } from "./terminal-program.ts"

type Exec = Extract<SessionRequest, { kind: "exec" }>

export class Sessions {
  readonly #socket: string
  readonly #terminal = new TerminalProgram()
  readonly #pipes = new PipedProgram()
  #launch: Launch | undefined

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

  /** Joins a host to what it asked for; one that cannot be served is told. */
  async join(token: string, request: SessionRequest): Promise<void> {
    const peer = await Peer.connect(this.#socket, token)
    try {
      if (request.kind === "exec") await this.#exec(peer, request)
      else if (request.size === undefined) this.#pipes.join(peer)
      else this.#terminal.join(peer, request.size)
    } catch (error) {
      peer.tell(FRAME.fault, { reason: reasonOf(error).slice(0, 1024) })
      await peer.end()
    }
  }

  async #exec(peer: Peer, { argv, terminal }: Exec): Promise<void> {
    if (this.#launch === undefined) throw new Error("the agent does not run yet")
    const { env, cwd } = this.#launch
    if (terminal === undefined) {
      const program = new PipedProgram()
      program.join(peer, () => program.signal("SIGHUP"))
      await program.start(argv, { env, cwd, input: true })
      return
    }
    const program = new TerminalProgram()
    program.join(peer, terminal.size, () => program.signal("SIGHUP"))
    program.start(argv, { ...env, TERM: terminal.term || "dumb" }, cwd)
  }
}
