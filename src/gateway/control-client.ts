/** The host's end of the control protocol, over any pair of streams that leads to a bottle's init. */
import type { Readable, Writable } from "node:stream"
import type { LedgerEntry, LedgerHead } from "../policy/ledger.ts"
import {
  CONTROL_LINE_MAX,
  type ControlAnswer,
  type ControlRequest,
  controlAnswer,
} from "../policy/wire/control.ts"
import { BottleError } from "../runtime/error.ts"
import { readLines } from "../runtime/lines.ts"

/** A way to a bottle's init; the backend makes it. */
export interface ControlStreams extends AsyncDisposable {
  input: Writable
  output: Readable
  /** What the way itself said when it broke: the stderr of `docker exec` */
  complaint(): string
}

type Answer<T extends ControlAnswer["type"]> = Extract<ControlAnswer, { type: T }>

export class ControlClient implements AsyncDisposable {
  readonly #identity: string
  readonly #streams: ControlStreams
  readonly #lines: AsyncGenerator<string>
  /** Called with the ledger's head of each answer */
  readonly #onHead: (head: LedgerHead) => void

  constructor(identity: string, streams: ControlStreams, onHead: (head: LedgerHead) => void = () => {}) {
    this.#identity = identity
    this.#streams = streams
    this.#lines = readLines(streams.output, CONTROL_LINE_MAX)
    this.#onHead = onHead
    // A gateway that goes away is seen as the end of its answers.
    streams.input.on("error", () => {})
  }

  load(request: Omit<Extract<ControlRequest, { op: "load" }>, "op">): Promise<Answer<"loaded">> {
    return this.#call({ op: "load", ...request }, "loaded", "load the gateway")
  }

  policy(policy: Extract<ControlRequest, { op: "policy" }>["policy"]): Promise<Answer<"loaded">> {
    return this.#call({ op: "policy", policy }, "loaded", "change the policy")
  }

  provision(files: Extract<ControlRequest, { op: "provision" }>["files"]): Promise<Answer<"provisioned">> {
    return this.#call({ op: "provision", files }, "provisioned", "write the agent's files")
  }

  probe(probes: Extract<ControlRequest, { op: "probe" }>["probes"]): Promise<Answer<"probed">> {
    return this.#call({ op: "probe", probes }, "probed", "try the wall")
  }

  launch(launch: Extract<ControlRequest, { op: "launch" }>["launch"]): Promise<Answer<"launched">> {
    return this.#call({ op: "launch", launch }, "launched", "start the agent")
  }

  status(): Promise<Answer<"status">> {
    return this.#call({ op: "status" }, "status", "ask for the state")
  }

  stop(graceMs: number): Promise<Answer<"stopped">> {
    return this.#call({ op: "stop", grace_ms: graceMs }, "stopped", "stop the bottle")
  }

  /** The ledger's entries after number `after`; with `follow` until the bottle ends. */
  async *ledger(after: number, follow: boolean): AsyncGenerator<LedgerEntry> {
    this.#send({ op: "ledger", after, follow })
    for (;;) {
      const answer = await this.#answer("ledger", "read the ledger")
      yield* answer.entries
      if (answer.end) return
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#streams.input.end()
    await this.#streams[Symbol.asyncDispose]()
  }

  #call<T extends ControlAnswer["type"]>(
    request: ControlRequest,
    type: T,
    doing: string,
  ): Promise<Answer<T>> {
    this.#send(request)
    return this.#answer(type, doing)
  }

  #send(request: ControlRequest): void {
    this.#streams.input.write(`${JSON.stringify(request)}\n`)
  }

  async #answer<T extends ControlAnswer["type"]>(type: T, doing: string): Promise<Answer<T>> {
    const what = `Could not ${doing} of ${this.#identity}`
    const line = await this.#lines.next()
    if (line.done) {
      const why = this.#streams.complaint() || "its gateway ended or does not answer"
      throw new BottleError({ what, why, next: `See its log: bottle log ${this.#identity}` })
    }
    const answer = controlAnswer.parse(JSON.parse(line.value))
    this.#onHead(answer.head)
    if (answer.type === "error") throw new BottleError({ what, why: answer.reason })
    if (answer.type !== type) throw new BottleError({ what, why: `the gateway answered "${answer.type}"` })
    return answer as Answer<T>
  }
}
