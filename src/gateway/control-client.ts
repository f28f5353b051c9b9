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

/** An answer that does not come within this never comes, in milliseconds: init bounds its own work to less. */
const ANSWER_WITHIN_MS = 45_000

/** What to do about a step of a start: the bottle is gone with it, and its ledger too. */
const START_AGAIN = "Mend what is named here and start again; report it when there is nothing to mend"
const NEXT: Partial<Record<ControlAnswer["type"], string>> = {
  loaded: "Mend what is named here and try again; report it when there is nothing to mend",
  provisioned: START_AGAIN,
  probed: START_AGAIN,
  launched: START_AGAIN,
}

type Answer<T extends ControlAnswer["type"]> = Extract<ControlAnswer, { type: T }>

/** For a start, which has nothing else to do while its gateway comes up. */
export function prepareForAnswers(): void {
  controlAnswer.prepare("loaded", "provisioned", "probed", "launched", "joined")
}

export class ControlClient implements AsyncDisposable {
  readonly #identity: string
  readonly #streams: ControlStreams
  readonly #lines: AsyncGenerator<string>
  /** Called with the ledger's head of each answer */
  readonly #onHead: (head: LedgerHead) => void
  readonly #withinMs: number

  constructor(
    identity: string,
    streams: ControlStreams,
    onHead: (head: LedgerHead) => void = () => {},
    withinMs = ANSWER_WITHIN_MS,
  ) {
    this.#withinMs = withinMs
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
    return this.#call({ op: "stop", grace_ms: graceMs }, "stopped", "end the agent", graceMs)
  }

  /** Passes a signal on to the agent. */
  signal(signal: "SIGINT" | "SIGTERM"): Promise<Answer<"signalled">> {
    return this.#call({ op: "signal", signal }, "signalled", "pass a signal to the agent")
  }

  /** The ledger's entries after number `after`; with `follow` until the bottle ends. */
  async *ledger(after: number, follow: boolean): AsyncGenerator<LedgerEntry> {
    this.#send({ op: "ledger", after, follow })
    for (;;) {
      // Whoever follows waits for what may never happen.
      const answer = await this.#answer("ledger", "read the ledger", follow ? undefined : this.#withinMs)
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
    moreMs = 0,
  ): Promise<Answer<T>> {
    this.#send(request)
    return this.#answer(type, doing, this.#withinMs + moreMs)
  }

  #send(request: ControlRequest): void {
    this.#streams.input.write(`${JSON.stringify(request)}\n`)
  }

  async #answer<T extends ControlAnswer["type"]>(
    type: T,
    doing: string,
    withinMs: number | undefined,
  ): Promise<Answer<T>> {
    const fault = (why: string) =>
      new BottleError({
        what: `Could not ${doing} (${this.#identity})`,
        why,
        next: NEXT[type] ?? `See what it did: bottle log ${this.#identity}`,
      })
    const line = await within(this.#lines.next(), withinMs, () =>
      fault(`its gateway did not answer within ${(withinMs ?? 0) / 1000} s`),
    )
    if (line.done) throw fault(this.#streams.complaint() || "its gateway ended or does not answer")
    const answer = parseAnswer(line.value)
    if (answer === undefined) throw fault("its gateway answered what this program does not understand")
    this.#onHead(answer.head)
    if (answer.type === "error") throw fault(answer.reason)
    if (answer.type !== type) throw fault(`its gateway answered "${answer.type}"`)
    return answer as Answer<T>
  }
}

function parseAnswer(line: string): ControlAnswer | undefined {
  try {
    return controlAnswer.safeParse(JSON.parse(line)).data
  } catch {
    return undefined
  }
}

async function within<T>(promise: Promise<T>, ms: number | undefined, late: () => Error): Promise<T> {
  if (ms === undefined) return promise
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}
