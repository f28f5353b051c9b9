/**
 * The gateway as a whole: what is loaded, which daemons live, whether the sandbox is there, and the ledger over it
 * all. Every way out of "loaded and recorded" leads to refusing traffic.
 */
import { mkdirSync } from "node:fs"
import type { Server } from "node:net"
import { dirname } from "node:path"
import type { LedgerEvent } from "../../src/policy/ledger.ts"
import type { Policy } from "../../src/policy/schema.ts"
import type { ControlAnswer, ControlRequest, GatewayStatus } from "../../src/policy/wire/control.ts"
import type { EgressCommand, EgressLoad } from "../../src/policy/wire/daemon.ts"
import type { Launch, Probe, ProvisionedFile } from "../../src/policy/wire/lifeline.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { serveControl, serveStdio } from "./control-server.ts"
import { type DaemonCommand, DaemonProcess } from "./daemon-process.ts"
import type { DaemonSpec } from "./daemons.ts"
import { InnerAnswers } from "./inner-answers.ts"
import { LedgerWriter } from "./ledger-writer.ts"
import { type InnerAnswer, Lifeline } from "./lifeline.ts"
import { Notes } from "./notes.ts"
import { writeTrustFiles } from "./trust-files.ts"

/** Grace of a daemon between SIGTERM and SIGKILL, below Docker's 10 s, in milliseconds. */
const DAEMON_GRACE_MS = 8000
/** A daemon answers a load or a change within this, in milliseconds. */
const DAEMON_ANSWER_MS = 10_000
/** inner connects, probes and starts the agent within this each, in milliseconds. */
const INNER_ANSWER_MS = 30_000
/** Without a host that loads it, the gateway says so after this, in milliseconds. */
const EMPTY_AFTER_MS = 5000
/** Without a sandbox after a load, the tokens are forgotten after this, in milliseconds. */
const ORPHAN_AFTER_MS = 120_000
/** Pause between tries to write a ledger that failed, in milliseconds. */
const LEDGER_RETRY_MS = 500

export interface GatewayOptions {
  identity: string
  daemons: DaemonSpec[]
  command: DaemonCommand
  /** Folder shared with the sandbox */
  socketDir: string
  lifelineSocket: string
  controlSocket: string
  ledgerDir: string
  /** True when stdin and stdout are a way to the host as well */
  stdio: boolean
  /** Passes on one line of a daemon's or init's own log */
  log(name: string, line: string): void
}

export class Gateway {
  readonly #options: GatewayOptions
  readonly #daemons: DaemonProcess[]
  readonly #ledger: LedgerWriter
  readonly #lifeline: Lifeline
  readonly #innerUp = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<number>()
  #control: Server | undefined
  #load: EgressLoad | undefined
  /** What the daemons get while nothing is loaded: the text that says how to load */
  #empty: EgressCommand | undefined
  /** Why the ledger cannot be written; undefined while it can */
  #halted: string | undefined
  #state: Exclude<GatewayStatus["state"], "halted"> = "empty"
  #exit: GatewayStatus["exit"]
  #ending = false
  /** Resolves when the change of what is in force that was begun last is over */
  #turn: Promise<unknown> = Promise.resolve()
  readonly #answers = new InnerAnswers()
  readonly #notes: Notes
  #followers = new Set<() => void>()
  #timers: NodeJS.Timeout[] = []
  #retry: NodeJS.Timeout | undefined

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#ledger = new LedgerWriter(options.ledgerDir)
    this.#notes = new Notes(dirname(options.ledgerDir))
    this.#daemons = options.daemons.map(
      (spec) =>
        new DaemonProcess(spec, options.command, {
          log: (line) => options.log(spec.name, line),
          ledger: (event) => this.#record(event),
        }),
    )
    mkdirSync(dirname(options.lifelineSocket), { recursive: true, mode: 0o755 })
    this.#lifeline = new Lifeline(options.lifelineSocket, {
      up: () => this.#innerUp.resolve(),
      message: (message) => this.#fromInner(message),
      down: (reason) => void this.#sandboxEnded(reason),
    })
  }

  /** Resolves with the exit code once the gateway is down. */
  get ended(): Promise<number> {
    return this.#ended.promise
  }

  async start(): Promise<void> {
    this.#record({ by: "init", kind: "gateway-start", data: { identity: this.#options.identity } })
    // Daemons start while the host still prepares the load: their start-up time is off the bottle's.
    if (this.#halted === undefined) for (const daemon of this.#daemons) daemon.start()
    await this.#lifeline.listen()
    this.#control = await serveControl(
      this.#options.controlSocket,
      (request, gone) => this.#handle(request, gone),
      () => this.#ledger.head,
    )
    if (this.#options.stdio) {
      void serveStdio(
        (request, gone) => this.#handle(request, gone),
        () => this.#ledger.head,
      )
    }
    this.#after(EMPTY_AFTER_MS, () => this.#tellEmpty())
  }

  /** Ends everything: the agent first, then the daemons. */
  async end(reason: string): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    this.#record({ by: "init", kind: "gateway-end", data: { reason } })
    this.#forget()
    await Promise.all(this.#daemons.map((daemon) => daemon.stop(DAEMON_GRACE_MS)))
    for (const timer of this.#timers) clearTimeout(timer)
    clearTimeout(this.#retry)
    this.#lifeline[Symbol.dispose]()
    for (const wake of this.#followers) wake()
    this.#control?.close()
    this.#ledger[Symbol.dispose]()
    this.#ended.resolve(Math.max(0, ...this.#daemons.map((daemon) => daemon.worstCode)))
  }

  async *#handle(request: ControlRequest, gone: AbortSignal): AsyncIterable<ControlAnswer> {
    switch (request.op) {
      case "load":
        yield await this.#inTurn(() => this.#onLoad(request))
        return
      case "policy":
        yield await this.#inTurn(() => this.#onPolicy(request.policy))
        return
      case "provision":
        yield await this.#onProvision(request.files)
        return
      case "probe":
        yield await this.#onProbe(request.probes)
        return
      case "launch":
        yield await this.#inTurn(() => this.#onLaunch(request.launch))
        return
      case "status":
        yield { type: "status", status: this.#status(), head: this.#ledger.head }
        return
      case "ledger":
        yield* this.#onLedger(request.after, request.follow, gone)
        return
      case "stop":
        yield await this.#onStop(request.grace_ms)
    }
  }

  /** One change of what is in force at a time: of two that follow the same generation, the second is refused. */
  #inTurn(change: () => Promise<ControlAnswer>): Promise<ControlAnswer> {
    const turn = this.#turn.then(async () => {
      if (this.#state === "ended" || this.#ending) throw new Error("the bottle has ended")
      this.#refuseHalted()
      const answer = await change()
      // What could not be written down is not answered as done.
      this.#refuseHalted()
      return answer
    })
    this.#turn = turn.catch(() => {})
    return turn
  }

  #refuseHalted(): void {
    if (this.#halted === undefined) return
    throw new Error(`the ledger cannot be written (${this.#halted}), so all traffic is stopped`)
  }

  async #onLoad(request: Extract<ControlRequest, { op: "load" }>): Promise<ControlAnswer> {
    const { ca, extra_ca, tokens, policy } = request
    writeTrustFiles(dirname(this.#options.lifelineSocket), ca.cert, extra_ca)
    const load: EgressLoad = { type: "load", ca, extra_ca, tokens, policy }
    for (const daemon of this.#daemons) {
      const answer = await daemon.load(load, DAEMON_ANSWER_MS)
      if (answer?.type !== "live" || answer.generation !== policy.generation) {
        daemon.keep(this.#load ?? this.#empty)
        throw new Error(`${daemon.status.name} did not take the policy: ${describe(answer)}`)
      }
    }
    this.#load = load
    this.#state = this.#lifeline.connected ? "running" : "loaded"
    this.#recordLoad(policy)
    this.#after(ORPHAN_AFTER_MS, () => {
      if (!this.#lifeline.connected) void this.end("no sandbox came within two minutes")
    })
    return { type: "loaded", generation: policy.generation, head: this.#ledger.head }
  }

  async #onPolicy(policy: Policy): Promise<ControlAnswer> {
    const current = this.#load
    if (current === undefined) throw new Error("the gateway is empty: load it first")
    if (policy.generation !== current.policy.generation + 1) {
      throw new Error(
        `generation ${policy.generation} does not follow the live ${current.policy.generation}: someone else changed it`,
      )
    }
    const missing = policy.routes.find((route) => route.auth && !(route.auth.credential in current.tokens))
    if (missing !== undefined) {
      throw new Error(
        `the route ${missing.host} needs a credential that was not loaded at start: restart the bottle`,
      )
    }
    const next: EgressLoad = { ...current, policy }
    for (const daemon of this.#daemons) {
      const answer = await daemon.change({ type: "policy", policy }, DAEMON_ANSWER_MS)
      if (answer?.type !== "live" || answer.generation !== policy.generation) {
        throw new Error(`${daemon.status.name} kept the old policy: ${describe(answer)}`)
      }
      daemon.keep(next)
    }
    this.#load = next
    this.#recordLoad(policy)
    return { type: "loaded", generation: policy.generation, head: this.#ledger.head }
  }

  async #onProvision(files: ProvisionedFile[]): Promise<ControlAnswer> {
    await this.#inner()
    const answer = await this.#askInner({ type: "provision", files }, ["provisioned", "failed"])
    if (answer.type !== "provisioned") throw new Error(describe(answer))
    return { type: "provisioned", head: this.#ledger.head }
  }

  /** Resolves once inner is connected. */
  #inner(): Promise<void> {
    return within(this.#innerUp.promise, INNER_ANSWER_MS, "the sandbox did not connect to its gateway")
  }

  async #onProbe(probes: Probe[]): Promise<ControlAnswer> {
    await this.#inner()
    const answer = await this.#askInner({ type: "probe", probes }, ["probed", "failed"])
    if (answer.type !== "probed") throw new Error(`the probes failed: ${describe(answer)}`)
    const failed = answer.results.filter((result) => !result.ok)
    this.#record({
      by: "inner",
      kind: "wall-probes",
      data: {
        tried: answer.results.length,
        failed: failed
          .map((result) => result.name)
          .join(", ")
          .slice(0, 1024),
      },
    })
    return { type: "probed", results: answer.results, head: this.#ledger.head }
  }

  async #onLaunch(launch: Launch): Promise<ControlAnswer> {
    if (this.#load === undefined) throw new Error("the gateway is empty: load it first")
    const since = this.#notes.firstLaunch()
    this.#notes.forgetExit()
    const answer = await this.#askInner({ type: "launch", launch, since }, ["started", "failed"])
    if (answer.type !== "started") throw new Error(describe(answer))
    this.#state = "running"
    this.#record({ by: "inner", kind: "agent-start", data: { program: launch.argv[0] ?? "" } })
    return { type: "launched", pid: answer.pid, head: this.#ledger.head }
  }

  async *#onLedger(after: number, follow: boolean, gone: AbortSignal): AsyncIterable<ControlAnswer> {
    let last = after
    for (;;) {
      for (const entries of this.#ledger.read(last)) {
        last = entries.at(-1)?.seq ?? last
        yield { type: "ledger", entries, end: false, head: this.#ledger.head }
      }
      if (!follow || this.#ending || gone.aborted) break
      if (this.#ledger.head.seq === last) await this.#nextEntry(gone)
    }
    yield { type: "ledger", entries: [], end: true, head: this.#ledger.head }
  }

  async #onStop(graceMs: number): Promise<ControlAnswer> {
    if (this.#lifeline.send({ type: "stop", grace_ms: graceMs })) {
      await this.#answers.wait(["exited", "failed"], graceMs + 5000)
    }
    void this.end("stopped by its owner")
    return { type: "stopped", head: this.#ledger.head }
  }

  #fromInner(message: InnerAnswer): void {
    // An agent ends once: whoever took over inner cannot fill the ledger with ends.
    if (message.type === "exited" && this.#exit === undefined) {
      const { code, workspace } = message
      this.#exit = { code, workspace }
      this.#record({
        by: "inner",
        kind: "agent-exit",
        data: { code, workspace: workspace.verdict, detail: workspace.detail },
      })
      try {
        this.#notes.exit({ code, workspace })
      } catch (error) {
        this.#options.log("init", `cannot note how the agent ended: ${reasonOf(error)}`)
      }
    }
    this.#answers.take(message)
  }

  async #sandboxEnded(reason: string): Promise<void> {
    this.#answers.drop()
    if (this.#ending) return
    this.#state = "ended"
    await this.end(reason)
  }

  async #askInner(
    message: Parameters<Lifeline["send"]>[0],
    types: InnerAnswer["type"][],
  ): Promise<InnerAnswer> {
    const answer = this.#answers.wait(types, INNER_ANSWER_MS)
    if (!this.#lifeline.send(message)) throw new Error("the sandbox is not connected to its gateway")
    const settled = await answer
    if (settled === undefined) throw new Error("the sandbox ended or did not answer in time")
    return settled
  }

  #nextEntry(gone: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#followers.delete(wake)
        gone.removeEventListener("abort", wake)
        resolve()
      }
      this.#followers.add(wake)
      gone.addEventListener("abort", wake)
    })
  }

  #status(): GatewayStatus {
    return {
      state: this.#halted === undefined ? this.#state : "halted",
      generation: this.#load?.policy.generation ?? 0,
      ...(this.#load === undefined ? {} : { policy: this.#load.policy }),
      daemons: this.#daemons.map((daemon) => daemon.status),
      ...(this.#exit === undefined ? {} : { exit: this.#exit }),
    }
  }

  #recordLoad(policy: Policy): void {
    this.#options.log("init", `loaded ${policy.routes.length} routes, generation ${policy.generation}`)
    this.#record({
      by: "init",
      kind: "policy-load",
      data: { generation: policy.generation, routes: policy.routes.length },
    })
  }

  /** Appends to the ledger; what cannot be recorded must not happen, so a failure stops all traffic. */
  #record(event: LedgerEvent): void {
    if (this.#halted !== undefined) return
    try {
      this.#ledger.append(event)
      for (const wake of [...this.#followers]) wake()
    } catch (error) {
      this.#halt(reasonOf(error))
    }
  }

  #halt(reason: string): void {
    this.#halted = reason
    this.#options.log(
      "init",
      `cannot write the ledger (${reason}): all traffic is stopped until it can be written`,
    )
    const down = Promise.all(this.#daemons.map((daemon) => daemon.stop(0)))
    const retry = () => {
      this.#retry = setTimeout(async () => {
        await down
        if (this.#ending) return
        try {
          this.#ledger.append({ by: "init", kind: "ledger-halted", data: { reason: reason.slice(0, 200) } })
        } catch {
          retry()
          return
        }
        this.#halted = undefined
        this.#options.log("init", "the ledger can be written again: traffic goes on")
        for (const daemon of this.#daemons) {
          daemon.keep(this.#load ?? this.#empty)
          daemon.start()
        }
      }, LEDGER_RETRY_MS)
    }
    retry()
  }

  #tellEmpty(): void {
    if (this.#load !== undefined || this.#ending) return
    const reload = `bottle reload ${this.#options.identity}`
    this.#options.log("init", `nothing is loaded, so everything is refused; on the host run: ${reload}`)
    const empty: EgressCommand = { type: "empty", reload }
    this.#empty = empty
    void this.#turn.then(() => {
      if (this.#load !== undefined || this.#ending) return
      for (const daemon of this.#daemons) {
        // A daemon that dies comes back with the same text.
        daemon.keep(empty)
        void daemon.change(empty, DAEMON_ANSWER_MS)
      }
    })
  }

  #forget(): void {
    this.#load = undefined
    for (const daemon of this.#daemons) daemon.keep(undefined)
  }

  #after(ms: number, action: () => void): void {
    this.#timers.push(setTimeout(action, ms))
  }
}

function describe(answer: { type: string; reason?: string; generation?: number } | undefined): string {
  if (answer === undefined) return "no answer in time"
  return answer.reason ?? `it answered "${answer.type}"${answer.generation ? ` ${answer.generation}` : ""}`
}

async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${ms / 1000} s`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
