/**
 * One daemon as a process that is kept alive: started, spoken to over stdin and stdout, restarted with back-off when
 * it dies, stopped with a grace. What it must know to serve (`load`) is sent to each new process before anything else.
 */
import { type ChildProcess, spawn } from "node:child_process"
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
import type { DaemonSpec } from "./daemons.ts"

/** Delay before the first restart and the most it grows to, in milliseconds. */
const BACKOFF_FIRST_MS = 200
const BACKOFF_MAX_MS = 30_000
/** A process that lived this long starts the back-off anew, in milliseconds. */
const STEADY_AFTER_MS = 10_000
/** Longest line of a daemon's log that is passed on, in characters. */
const LOG_LINE_MAX = 2000

/** What a daemon's owner is told. */
export interface DaemonEvents {
  log(line: string): void
  ledger(event: LedgerEvent): void
}

/** How a daemon's process is made: in the gateway image through `setpriv`, elsewhere as it is. */
export type DaemonCommand = (spec: DaemonSpec) => string[]

type Answer = Exclude<DaemonReport, { type: "event" }>

export class DaemonProcess {
  readonly #spec: DaemonSpec
  readonly #command: DaemonCommand
  readonly #events: DaemonEvents
  #child: ChildProcess | undefined
  #state: DaemonStatus["state"] = "stopped"
  #restarts = 0
  #backoff = BACKOFF_FIRST_MS
  #timer: NodeJS.Timeout | undefined
  #stopping = false
  #worst = 0
  /** Sent first to each new process */
  #load: EgressCommand | undefined
  /** Those who wait for the answer to the last command */
  #waiting: ((answer: Answer) => void)[] = []

  constructor(spec: DaemonSpec, command: DaemonCommand, events: DaemonEvents) {
    this.#spec = spec
    this.#command = command
    this.#events = events
  }

  get status(): DaemonStatus {
    return { name: this.#spec.name, state: this.#state, restarts: this.#restarts }
  }

  /** Highest exit code seen; deaths by signal do not count. */
  get worstCode(): number {
    return this.#worst
  }

  start(): void {
    this.#stopping = false
    const [file = "", ...args] = this.#command(this.#spec)
    const startedAt = Date.now()
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], env: this.#spec.env })
    this.#child = child
    this.#state = this.#restarts === 0 ? "starting" : "restarting"
    child.on("error", (error) => this.#events.log(`cannot start: ${error.message}`))
    // A daemon that dies while a command is written to it is handled by `close`.
    child.stdin?.on("error", () => {})
    this.#follow(child)
    child.on("close", (code, signal) => this.#closed(child, code, signal, Date.now() - startedAt))
    if (this.#load !== undefined) this.#write(this.#load)
  }

  /**
   * Sends what each process needs from now on. Answers with what the daemon reports; `undefined` after `withinMs`.
   */
  async load(command: EgressCommand, withinMs: number): Promise<Answer | undefined> {
    this.#load = command
    return this.#ask(command, withinMs)
  }

  /** Sends a change; on `live` the caller gives the next `load` through `keep`. */
  change(command: EgressCommand, withinMs: number): Promise<Answer | undefined> {
    return this.#ask(command, withinMs)
  }

  /** Sets what the next process is loaded with. */
  keep(command: EgressCommand | undefined): void {
    this.#load = command
  }

  /** Ends the process: SIGTERM, after `graceMs` SIGKILL. Resolves when it is gone. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    this.#load = undefined
    clearTimeout(this.#timer)
    const child = this.#child
    this.#state = "stopped"
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise<void>((done) => child.once("close", () => done()))
    child.kill("SIGTERM")
    const kill = setTimeout(() => child.kill("SIGKILL"), graceMs)
    await gone
    clearTimeout(kill)
  }

  #ask(command: EgressCommand, withinMs: number): Promise<Answer | undefined> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((waiter) => waiter !== settle)
        resolve(undefined)
      }, withinMs)
      const settle = (answer: Answer) => {
        clearTimeout(timer)
        resolve(answer)
      }
      this.#waiting.push(settle)
      this.#write(command)
    })
  }

  #write(command: EgressCommand): void {
    this.#child?.stdin?.write(`${JSON.stringify(command)}\n`)
  }

  #follow(child: ChildProcess): void {
    const { stdout, stderr } = child
    if (stdout !== null) this.#reports(child, stdout)
    if (stderr !== null) this.#logs(stderr)
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
        if (report.type === "live") this.#state = "live"
        this.#waiting.shift()?.(report)
      }
    } catch (error) {
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

  #closed(child: ChildProcess, code: number | null, signal: string | null, livedMs: number): void {
    if (child !== this.#child) return
    this.#worst = Math.max(this.#worst, code ?? 0)
    if (this.#stopping) return
    const how = signal === null ? `with code ${code}` : `by ${signal}`
    if (livedMs >= STEADY_AFTER_MS) this.#backoff = BACKOFF_FIRST_MS
    this.#events.log(`ended ${how}; starting it again in ${this.#backoff} ms`)
    this.#events.ledger({
      by: "init",
      kind: "daemon-died",
      data: { daemon: this.#spec.name, how, restart_in_ms: this.#backoff },
    })
    this.#state = "restarting"
    this.#restarts += 1
    this.#timer = setTimeout(() => this.start(), this.#backoff)
    this.#backoff = Math.min(this.#backoff * 2, BACKOFF_MAX_MS)
  }
}
