/** The sandbox as init knows it: the one lifeline to inner, what is asked over it, and what comes back. */
import type { Socket } from "node:net"
import type { SessionRequest, ToInner } from "../../src/policy/wire/lifeline.ts"
import { InnerAnswers } from "./inner-answers.ts"
import { type InnerAnswer, Lifeline } from "./lifeline.ts"
import { SessionBroker } from "./session-broker.ts"

/** inner connects, and answers each request, within this, in milliseconds. */
const ANSWER_MS = 30_000
/** Time over the agent's own grace that inner has to tell its end, in milliseconds. */
const STOP_SLACK_MS = 5000

export interface SandboxEvents {
  /** inner said something, asked or not */
  message(message: InnerAnswer): void
  /** The lifeline dropped: the sandbox ended */
  down(reason: string): void
}

export class Sandbox implements Disposable {
  readonly #lifeline: Lifeline
  readonly #answers = new InnerAnswers()
  readonly #sessions: SessionBroker
  readonly #up = Promise.withResolvers<void>()

  /** `sockets` are the paths of the lifeline and of the sessions. */
  constructor(sockets: { lifeline: string; sessions: string }, events: SandboxEvents) {
    this.#sessions = new SessionBroker(sockets.sessions)
    this.#lifeline = new Lifeline(sockets.lifeline, {
      up: () => this.#up.resolve(),
      message: (message) => {
        events.message(message)
        this.#answers.take(message)
      },
      down: (reason) => {
        this.#answers.drop()
        events.down(reason)
      },
    })
  }

  get connected(): boolean {
    return this.#lifeline.connected
  }

  async listen(): Promise<void> {
    await Promise.all([this.#lifeline.listen(), this.#sessions.listen()])
  }

  /** inner's connection for a session. Throws when it does not come in time. */
  session(request: SessionRequest): Promise<Socket> {
    return this.#sessions.open((token) => this.#lifeline.send({ type: "session", token, request }))
  }

  /** Resolves once inner is connected. Throws when it does not come in time. */
  async ready(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const text = `the sandbox did not connect to its gateway within ${ANSWER_MS / 1000} s`
      timer = setTimeout(() => reject(new Error(text)), ANSWER_MS)
    })
    try {
      await Promise.race([this.#up.promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Sends one request and waits for its answer. Throws with inner's own words when it failed. */
  async ask<T extends InnerAnswer["type"]>(
    message: ToInner,
    type: T,
  ): Promise<Extract<InnerAnswer, { type: T }>> {
    const answer = this.#answers.wait([type, "failed"], ANSWER_MS)
    if (!this.#lifeline.send(message)) throw new Error("the sandbox is not connected to its gateway")
    const settled = await answer
    if (settled === undefined) throw new Error("the sandbox ended or did not answer in time")
    if (settled.type === "failed") throw new Error(settled.reason)
    return settled as Extract<InnerAnswer, { type: T }>
  }

  /** Passes a signal on to the agent. Throws when the sandbox is gone. */
  signal(signal: "SIGINT" | "SIGTERM"): void {
    if (!this.#lifeline.send({ type: "signal", signal })) throw new Error("the sandbox has ended")
  }

  /** Ends the agent: SIGTERM, after `graceMs` SIGKILL. Resolves when it ended, and at once when there is none. */
  async stop(graceMs: number): Promise<void> {
    if (!this.#lifeline.send({ type: "stop", grace_ms: graceMs })) return
    await this.#answers.wait(["exited", "failed"], graceMs + STOP_SLACK_MS)
  }

  [Symbol.dispose](): void {
    this.#lifeline[Symbol.dispose]()
    this.#sessions[Symbol.dispose]()
  }
}
