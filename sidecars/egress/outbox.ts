/** What egress says to init: lines on one file descriptor, in order, without ever blocking the event loop. */
import { write } from "node:fs"
import type { DaemonReport } from "../../src/policy/wire/daemon.ts"
import { REPORT_BACKLOG_MAX_BYTES } from "./limits.ts"

/** Delay before a full pipe is tried again, in ms */
const RETRY_MS = 5

/**
 * Lines written to a descriptor. `process.stdout` is not used: its writes to a pipe block the whole process while
 * init does not read, and it has no bound.
 */
export class Outbox {
  readonly #fd: number
  #waiting: Buffer[] = []
  #bytes = 0
  #busy = false
  #broken = false
  /** Events that found no room since the last that did */
  #lost = 0

  constructor(fd: number) {
    this.#fd = fd
  }

  /** True when nothing more may be done that needs a report. */
  get full(): boolean {
    return this.#broken || this.#bytes > REPORT_BACKLOG_MAX_BYTES
  }

  /** Resolves when all reports are written, or none can be any more. */
  async flushed(): Promise<void> {
    while (this.#busy && !this.#broken) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }

  /** Queues a report. Beyond twice the bound only refusals still come: those are counted and told as a number. */
  send(report: DaemonReport): void {
    if (report.type === "event" && this.#bytes > 2 * REPORT_BACKLOG_MAX_BYTES) {
      this.#lost += 1
      return
    }
    if (this.#lost > 0) {
      const event = { by: "egress", kind: "events-lost", data: { count: this.#lost } }
      this.#lost = 0
      this.#queue({ type: "event", event })
    }
    this.#queue(report)
  }

  #queue(report: DaemonReport): void {
    const line = Buffer.from(`${JSON.stringify(report)}\n`)
    this.#waiting.push(line)
    this.#bytes += line.length
    if (!this.#busy) this.#flush()
  }

  #flush(): void {
    this.#busy = this.#waiting.length > 0 && !this.#broken
    if (!this.#busy) return
    const batch = this.#waiting.length === 1 ? this.#waiting[0]! : Buffer.concat(this.#waiting)
    this.#waiting = []
    this.#write(batch)
  }

  #write(batch: Buffer): void {
    write(this.#fd, batch, (error, written) => {
      if (error !== null && error.code !== "EAGAIN") {
        this.#broken = true
        this.#busy = false
        return
      }
      const done = error === null ? written : 0
      this.#bytes -= done
      const rest = batch.subarray(done)
      if (rest.length === 0) this.#flush()
      else if (error === null) this.#write(rest)
      else setTimeout(() => this.#write(rest), RETRY_MS)
    })
  }
}
