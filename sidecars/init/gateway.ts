/**
 * The gateway as a whole: what is loaded, which daemons live, whether the sandbox is there, and the ledger over it
 * all. Every way out of "loaded and recorded" leads to refusing traffic.
 */
import { mkdirSync } from "node:fs"
import type { Server } from "node:net"
import { basename, dirname, join } from "node:path"
import { SESSION_SOCKET } from "../../src/policy/paths.ts"
import type { Policy } from "../../src/policy/schema.ts"
import type { ControlAnswer, ControlRequest, GatewayStatus } from "../../src/policy/wire/control.ts"
import type { EgressCommand, EgressLoad } from "../../src/policy/wire/daemon.ts"
import type {
  Launch,
  Probe,
  ProbeResult,
  ProvisionedFile,
  SessionRequest,
} from "../../src/policy/wire/lifeline.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { type SessionAnswer, serveControl, serveStdio } from "./control-server.ts"
import { DaemonProcess } from "./daemon-process.ts"
import type { DaemonChild, DaemonSpawner } from "./daemon-spawn.ts"
import type { DaemonSpec } from "./daemons.ts"
import type { InnerAnswer } from "./lifeline.ts"
import { Notes } from "./notes.ts"
import { Recorder } from "./recorder.ts"
import { Sandbox } from "./sandbox.ts"
import { writeTrustFiles } from "./trust-files.ts"

/** Grace of a daemon between SIGTERM and SIGKILL, below Docker's 10 s, in milliseconds. */
const DAEMON_GRACE_MS = 8000
/** A daemon answers a load or a change within this, in milliseconds. */
const DAEMON_ANSWER_MS = 10_000
/** Without a host that loads it, the gateway says so after this, in milliseconds. */
const EMPTY_AFTER_MS = 5000
/** Without a sandbox after a load, the tokens are forgotten after this, in milliseconds. */
const ORPHAN_AFTER_MS = 120_000
/** Longest reason of an end in the ledger, in characters. */
const REASON_MAX = 512
/** The steps of a start follow each other at once; a host that was killed between two takes none, in milliseconds. */
const NEXT_STEP_WITHIN_MS = 30_000

export interface GatewayOptions {
  identity: string
  daemons: DaemonSpec[]
  spawner: DaemonSpawner
  /** Processes of daemons that run already, by name */
  running: ReadonlyMap<string, DaemonChild>
  /** In the folder shared with the sandbox, with the sockets of sessions and the trust files beside it */
  lifelineSocket: string
  controlSocket: string
  ledgerDir: string
  /** Folder of small facts that outlive the gateway */
  notesDir: string
  /** True when stdin and stdout are a way to the host as well */
  stdio: boolean
  /** stdin has ended: the host that had it is gone, or has said all that it wanted */
  hostLeft?(state: GatewayStatus["state"]): void
  /** Passes on one line of a daemon's or init's own log */
  log(name: string, line: string): void
}

export class Gateway {
  readonly #options: GatewayOptions
  readonly #daemons: DaemonProcess[]
  readonly #recorder: Recorder
  readonly #sandbox: Sandbox
  readonly #ended = Promise.withResolvers<number>()
  #control: Server | undefined
  #load: EgressLoad | undefined
  /** What the daemons get while nothing is loaded: the text that says how to load */
  #empty: EgressCommand | undefined
  #state: Exclude<GatewayStatus["state"], "halted"> = "empty"
  #exit: GatewayStatus["exit"]
  #ending = false
  /** Resolves when the change of what is in force that was begun last is over */
  #turn: Promise<unknown> = Promise.resolve()
  readonly #notes: Notes
  #timers: NodeJS.Timeout[] = []
  /** Runs between two steps of a start */
  #nextStep: NodeJS.Timeout | undefined

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#recorder = new Recorder(options.ledgerDir, {
      halt: (reason) => this.#halt(reason),
      resume: () => this.#resume(),
    })
    this.#notes = new Notes(options.notesDir)
    this.#daemons = options.daemons.map(
      (spec) =>
        new DaemonProcess(
          spec,
          options.spawner,
          {
            log: (line) => options.log(spec.name, line),
            ledger: (event) => this.#recorder.record(event),
          },
          options.running.get(spec.name),
        ),
    )
    mkdirSync(dirname(options.lifelineSocket), { recursive: true, mode: 0o755 })
    this.#sandbox = new Sandbox(
      {
        lifeline: options.lifelineSocket,
        sessions: join(dirname(options.lifelineSocket), basename(SESSION_SOCKET)),
      },
      {
        message: (message) => this.#fromInner(message),
        down: (reason) => void this.#sandboxEnded(reason),
      },
    )
  }

  /** Resolves with the exit code once the gateway is down. */
  get ended(): Promise<number> {
    return this.#ended.promise
  }

  async start(): Promise<void> {
    this.#recorder.record({ by: "init", kind: "gateway-start", data: { identity: this.#options.identity } })
    if (this.#recorder.halted === undefined) for (const daemon of this.#daemons) daemon.start()
    await this.#sandbox.listen()
    this.#control = await serveControl(
      this.#options.controlSocket,
      (request, gone) => this.#handle(request, gone),
      () => this.#recorder.head,
    )
    if (this.#options.stdio) {
      void serveStdio(
        (request, gone) => this.#handle(request, gone),
        () => this.#recorder.head,
      ).then(() => this.#options.hostLeft?.(this.#state))
    }
    this.#after(EMPTY_AFTER_MS, () => this.#tellEmpty())
  }

  /** Ends everything: the agent first, then the daemons. */
  async end(reason: string): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    // It may quote the sandbox, and the ledger's readers take no longer one.
    this.#recorder.record({ by: "init", kind: "gateway-end", data: { reason: reason.slice(0, REASON_MAX) } })
    this.#forget()
    await Promise.all(this.#daemons.map((daemon) => daemon.stop(DAEMON_GRACE_MS)))
    for (const timer of [...this.#timers, this.#nextStep]) clearTimeout(timer)
    this.#sandbox[Symbol.dispose]()
    this.#control?.close()
    this.#recorder[Symbol.dispose]()
    this.#ended.resolve(Math.max(0, ...this.#daemons.map((daemon) => daemon.worstCode)))
  }

  /** Ends the agent at once, and then everything else; the reason stands in the ledger. */
  async stop(reason: string): Promise<void> {
    this.#recorder.record({
      by: "init",
      kind: "agent-stopped",
      data: { reason: reason.slice(0, REASON_MAX) },
    })
    await this.#sandbox.stop(0)
    await this.end(reason)
  }

  async *#handle(request: ControlRequest, gone: AbortSignal): AsyncIterable<ControlAnswer | SessionAnswer> {
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
        yield { type: "status", status: this.#status(), head: this.#recorder.head }
        return
      case "ledger":
        yield* this.#onLedger(request.after, request.follow, gone)
        return
      case "stop":
        yield await this.#onStop(request.grace_ms)
        return
      case "signal":
        this.#sandbox.signal(request.signal)
        yield { type: "signalled", head: this.#recorder.head }
        return
      case "session":
        yield await this.#onSession(request.request)
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
    const { halted } = this.#recorder
    if (halted !== undefined)
      throw new Error(`the ledger cannot be written (${halted}), so all traffic is stopped`)
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
    this.#state = this.#sandbox.connected ? "running" : "loaded"
    this.#recordLoad(policy)
    this.#after(ORPHAN_AFTER_MS, () => {
      if (!this.#sandbox.connected) void this.end("no sandbox came within two minutes")
    })
    return { type: "loaded", generation: policy.generation, head: this.#recorder.head }
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
    return { type: "loaded", generation: policy.generation, head: this.#recorder.head }
  }

  async #onProvision(files: ProvisionedFile[]): Promise<ControlAnswer> {
    clearTimeout(this.#nextStep)
    await this.#sandbox.ready()
    await this.#sandbox.ask({ type: "provision", files }, "provisioned")
    this.#awaitNextStep()
    return { type: "provisioned", head: this.#recorder.head }
  }

  async #onProbe(probes: Probe[]): Promise<ControlAnswer> {
    clearTimeout(this.#nextStep)
    const loading = this.#turn
    await this.#sandbox.ready()
    // Most need no gateway, and are tried while its daemons are loaded.
    const { results } = await this.#try(probes.filter(({ kind }) => kind !== "gateway"))
    await loading
    results.push(...(await this.#try(probes.filter(({ kind }) => kind === "gateway"))).results)
    const failed = results.filter((result) => !result.ok).map((result) => result.name)
    this.#recorder.record({
      by: "inner",
      kind: "wall-probes",
      data: {
        tried: results.length,
        failed: failed.join(", ").slice(0, 1024),
      },
    })
    this.#awaitNextStep()
    return { type: "probed", results, head: this.#recorder.head }
  }

  #try(probes: Probe[]): Promise<{ results: ProbeResult[] }> {
    return this.#sandbox.ask({ type: "probe", probes }, "probed")
  }

  async #onLaunch(launch: Launch): Promise<ControlAnswer> {
    clearTimeout(this.#nextStep)
    if (this.#load === undefined) throw new Error("the gateway is empty: load it first")
    const since = this.#notes.firstLaunch()
    this.#notes.forgetExit()
    const { pid } = await this.#sandbox.ask({ type: "launch", launch, since }, "started")
    this.#state = "running"
    this.#recorder.record({
      by: "inner",
      kind: "agent-start",
      data: { program: (launch.argv[0] ?? "").slice(0, 1024) },
    })
    return { type: "launched", pid, head: this.#recorder.head }
  }

  async *#onLedger(after: number, follow: boolean, gone: AbortSignal): AsyncIterable<ControlAnswer> {
    for await (const entries of this.#recorder.read(after, follow, gone)) {
      yield { type: "ledger", entries, end: false, head: this.#recorder.head }
    }
    yield { type: "ledger", entries: [], end: true, head: this.#recorder.head }
  }

  async #onSession(request: SessionRequest): Promise<SessionAnswer> {
    await this.#sandbox.ready()
    if (request.kind === "exec") {
      // Whether the agent runs is inner's to know: after a restart of ours it may have come back behind the load.
      this.#recorder.record({
        by: "init",
        kind: "exec",
        data: { program: (request.argv[0] ?? "").slice(0, 1024) },
      })
      this.#refuseHalted()
    }
    const session = await this.#sandbox.session(request)
    return { answer: { type: "joined", head: this.#recorder.head }, session }
  }

  async #onStop(graceMs: number): Promise<ControlAnswer> {
    await this.#sandbox.stop(graceMs)
    void this.end("stopped by its owner")
    return { type: "stopped", head: this.#recorder.head }
  }

  #awaitNextStep(): void {
    clearTimeout(this.#nextStep)
    this.#nextStep = setTimeout(() => void this.#abandoned(), NEXT_STEP_WITHIN_MS)
  }

  /**
   * The host was killed in the middle of the start: nobody will ever launch the agent. A bottle that never had one has
   * nothing to keep, which is noted for the next cleanup; one that is resumed has the work of its earlier sessions.
   */
  async #abandoned(): Promise<void> {
    if (this.#ending) return
    if (!this.#notes.launchedBefore()) {
      this.#notes.exit({ code: 0, workspace: { verdict: "unchanged", detail: "no agent was started" } })
    }
    await this.#sandbox.stop(0)
    await this.end("its start was not finished")
  }

  #fromInner(message: InnerAnswer): void {
    // An agent ends once: whoever took over inner cannot fill the ledger with ends.
    if (message.type === "exited" && this.#exit === undefined) {
      const { code, workspace } = message
      this.#exit = { code, workspace }
      this.#recorder.record({
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
  }

  async #sandboxEnded(reason: string): Promise<void> {
    if (this.#ending) return
    this.#state = "ended"
    await this.end(reason)
  }

  #status(): GatewayStatus {
    return {
      state: this.#recorder.halted === undefined ? this.#state : "halted",
      generation: this.#load?.policy.generation ?? 0,
      ...(this.#load === undefined ? {} : { policy: this.#load.policy }),
      daemons: this.#daemons.map((daemon) => daemon.status),
      ...(this.#exit === undefined ? {} : { exit: this.#exit }),
    }
  }

  #recordLoad(policy: Policy): void {
    this.#options.log("init", `loaded ${policy.routes.length} routes, generation ${policy.generation}`)
    this.#recorder.record({
      by: "init",
      kind: "policy-load",
      data: { generation: policy.generation, routes: policy.routes.length },
    })
  }

  /** Ends all daemons, and so all traffic. */
  #halt(reason: string): Promise<unknown> {
    const until = "all traffic is stopped until it can be written"
    this.#options.log("init", `cannot write the ledger (${reason}): ${until}`)
    return Promise.all(this.#daemons.map((daemon) => daemon.stop(0)))
  }

  #resume(): void {
    this.#options.log("init", "the ledger can be written again: traffic goes on")
    for (const daemon of this.#daemons) {
      daemon.keep(this.#load ?? this.#empty)
      daemon.start()
    }
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
