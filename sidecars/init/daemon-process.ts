/**
 * One daemon as a process that is kept alive: started, spoken to over stdin and stdout, restarted with back-off when
 * it dies, stopped with a grace. What it must know to serve (`load`) is sent to each new process before anything else.
 */
import type { ChildProcess } from "node:child_process"
import type { Readable } from "node:stream"
import { showable } from "../../src/policy/denial.ts"
import type { LedgerEvent } from "../../src/policy/ledger.ts"
import type { DaemonStatus } from "../../src/policy/wire/control.ts"
import {
  DAEMON_LINE_MAX,
  type DaemonReport,
  daemonReport,
  type EgressCommand,
} from "../../src/policy/wire/daemon.ts"
import { readLines } from "../../src/runtime/lines.ts"
import type { DaemonChild, DaemonSpawner } from "./daemon-spawn.ts"
import type { DaemonSpec } from "./daemons.ts"

/** Delay before the first restart and the most it grows to, in milliseconds. */
const BACKOFF_FIRST_MS = 200
const BACKOFF_MAX_MS = 30_000
/** A process that lived this long starts the back-off anew, in milliseconds. */
const STEADY_AFTER_MS = 10_000
/** Time to read what an ended process had written: its pipes may be held open by one it left behind. In ms. */
const DRAIN_MS = 1000
/** Longest line of a daemon's log that is passed on, in characters. */
const LOG_LINE_MAX = 2000

/** What a daemon's owner is told. */
export interface DaemonEvents {
  log(line: string): void
  ledger(event: LedgerEvent): void
}

type Answer = Exclude<DaemonReport, { type: "event" }>
type Settle = (answer: Answer | undefined) => void

/** What those who wait are told when the process ends under them. */
const ENDED: Answer = { type: "refused", generation: 0, reason: "it ended before it answered" }

export class DaemonProcess {
  readonly #spec: DaemonSpec
  readonly #spawner: DaemonSpawner
  readonly #events: DaemonEvents
  #child: DaemonChild | undefined
  /** Process that was started before there was anybody to look after it */
  #first: DaemonChild | undefined
  /** Resolves when the process is gone and what it reported is passed on */
  #gone: Promise<void> = Promise.resolve()
  #state: DaemonStatus["state"] = "stopped"
  #restarts = 0
  #backoff = BACKOFF_FIRST_MS
  #timer: NodeJS.Timeout | undefined
  #stopping = false
  #worst = 0
  /** Sent first to each new process */
  #load: EgressCommand | undefined
  /** One for each command that this process was sent and has not answered, in order */
  #waiting: Settle[] = []

  /** `first` is a process that runs already: taken over by the first start. */
  constructor(spec: DaemonSpec, spawner: DaemonSpawner, events: DaemonEvents, first?: DaemonChild) {
    this.#first = first
    this.#spec = spec
    this.#spawner = spawner
    this.#events = events
  }

  get status(): DaemonStatus {
    return { name: this.#spec.name, state: this.#state, restarts: this.#restarts }
  }

  /** Highest exit code seen; deaths by signal do not count. */
  get worstCode(): number {
    return this.#worst
  }

  /** Starts the process, unless there is one. */
  start(): void {
    this.#begin(() => {})
  }

  /** Sends what each process needs from now on. Answers with what the daemon reports. */
  load(command: EgressCommand, withinMs: number): Promise<Answer | undefined> {
    this.#load = command
    return this.#ask(withinMs, (settle) => {
      // A load does not wait for the back-off: the new process gets it as its first command.
      if (this.#child === undefined) this.#begin(settle)
      else this.#send(this.#child, command, settle)
    })
  }

  /** Sends a change; on `live` the caller gives the next `load` through `keep`. */
  change(command: EgressCommand, withinMs: number): Promise<Answer | undefined> {
    return this.#ask(withinMs, (settle) => {
      if (this.#child === undefined) settle(ENDED)
      else this.#send(this.#child, command, settle)
    })
  }

  /** Sets what the next process is loaded with. */
  keep(command: EgressCommand | undefined): void {
    this.#load = command
  }

  /** Ends the process: SIGTERM, after `graceMs` SIGKILL. Resolves when it is gone and its last reports are in. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    this.#load = undefined
    clearTimeout(this.#timer)
    this.#state = "stopped"
    const child = this.#child
    if (child === undefined) return
    this.#spawner.end(child)
    const kill = setTimeout(() => child.kill("SIGKILL"), graceMs)
    await this.#gone
    clearTimeout(kill)
  }

  #begin(loaded: Settle): void {
    if (this.#child !== undefined) return
    clearTimeout(this.#timer)
    this.#stopping = false
    const startedAt = Date.now()
    const child = this.#takeFirst() ?? this.#spawner.spawn(this.#spec)
    this.#child = child
    this.#state = this.#restarts === 0 ? "starting" : "restarting"
    const reading = Promise.all([this.#reports(child, child.stdout), this.#logs(child.stderr)])
    this.#gone = this.#endOf(child, reading, startedAt)
    if (this.#load === undefined) loaded(undefined)
    else this.#send(child, this.#load, loaded)
  }

  /** One that has ended meanwhile is nobody's: its end would never be seen. */
  #takeFirst(): DaemonChild | undefined {
    const first = this.#first
    this.#first = undefined
    return first?.pid !== undefined && first.exitCode === null && first.signalCode === null
      ? first
      : undefined
  }

  /**
   * Waits for the answer to the command that `give` sends. One that does not come in time leaves open what is in
   * force, so the process is ended: the next one is loaded with what is known to be.
   */
  #ask(withinMs: number, give: (settle: Settle) => void): Promise<Answer | undefined> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        resolve(undefined)
        this.#events.log(`did not answer within ${withinMs / 1000} s and is ended`)
        this.#child?.kill("SIGKILL")
      }, withinMs)
      give((answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
    })
  }

  #send(child: ChildProcess, command: EgressCommand, settle: Settle): void {
    this.#waiting.push(settle)
    child.stdin?.write(`${JSON.stringify(command)}\n`)
  }

  /** A daemon parses hostile bytes, so what it says is checked; one that breaks the protocol is ended. */
  async #reports(child: ChildProcess, stdout: Readable): Promise<void> {
    try {
      for await (const line of readLines(stdout, DAEMON_LINE_MAX)) {
        const report = daemonReport.parse(JSON.parse(line))
        if (report.type === "event") {
          this.#events.ledger({ ...report.event, by: this.#spec.name })
          continue
        }
        if (report.type === "live" && !this.#stopping) this.#state = "live"
        this.#waiting.shift()?.(report)
      }
    } catch (error) {
      // Pipes that are closed because the process has ended are no fault of its.
      if (child !== this.#child || child.exitCode !== null || child.signalCode !== null) return
      this.#events.log(`broke the protocol and is ended: ${showable(String(error), 300)}`)
      child.kill("SIGKILL")
    }
  }

  async #logs(stderr: Readable): Promise<void> {
    try {
      for await (const line of readLines(stderr, 1024 * 1024)) this.#events.log(showable(line, LOG_LINE_MAX))
    } catch {
      // A log line beyond all bounds: the pipe is closed by the end of the iteration, the daemon runs on.
    }
  }

  /**
   * Follows the process to its end. Not by `close`, which waits for the pipes as well: a daemon that was taken over
   * could leave a child behind that holds them, and so keep init from restarting it or from ending.
   */
  async #endOf(child: ChildProcess, reading: Promise<unknown>, startedAt: number): Promise<void> {
    const { code, how } = await ending(child)
    let timer: NodeJS.Timeout | undefined
    const drained = new Promise<void>((done) => {
      timer = setTimeout(done, DRAIN_MS)
    })
    await Promise.race([reading, drained])
    clearTimeout(timer)
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
    this.#child = undefined
    this.#worst = Math.max(this.#worst, code)
    for (const settle of this.#waiting.splice(0)) settle(ENDED)
    if (!this.#stopping) this.#restartLater(how, Date.now() - startedAt)
  }

  #restartLater(how: string, livedMs: number): void {
    if (livedMs >= STEADY_AFTER_MS) this.#backoff = BACKOFF_FIRST_MS
    this.#state = "restarting"
    this.#restarts += 1
    this.#timer = setTimeout(() => this.start(), this.#backoff)
    const delay = this.#backoff
    this.#backoff = Math.min(this.#backoff * 2, BACKOFF_MAX_MS)
    this.#events.log(`ended ${how}; starting it again in ${delay} ms`)
    this.#events.ledger({
      by: "init",
      kind: "daemon-died",
      data: { daemon: this.#spec.name, how, restart_in_ms: delay },
    })
  }
}

/** Resolves when the process has ended, or could not be started: then `exit` never comes. */
function ending(child: ChildProcess): Promise<{ code: number; how: string }> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => {
      resolve({ code: code ?? 0, how: signal === null ? `with code ${code}` : `by ${signal}` })
    })
    child.once("error", (error) => {
      if (child.pid === undefined) resolve({ code: 1, how: `at its start: ${error.message}`.slice(0, 200) })
    })
  })
}
