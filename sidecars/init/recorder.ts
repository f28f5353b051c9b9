/**
 * The ledger as the rest of init uses it: records, hands entries to whoever follows, and tells when nothing can be
 * recorded any more. What cannot be recorded must not happen, so its owner stops all traffic until it is told to go on.
 */
import type { LedgerEntry, LedgerEvent, LedgerHead } from "../../src/policy/ledger.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { LedgerWriter } from "./ledger-writer.ts"

/** Pause between tries to write a ledger that failed, in milliseconds. */
const RETRY_MS = 500

export interface RecorderEvents {
  /** Nothing can be recorded: resolves when nothing can happen any more either */
  halt(reason: string): Promise<unknown>
  /** Entries can be written again */
  resume(): void
}

export class Recorder implements Disposable {
  readonly #ledger: LedgerWriter
  readonly #events: RecorderEvents
  readonly #followers = new Set<() => void>()
  #halted: string | undefined
  #retry: NodeJS.Timeout | undefined
  #closed = false

  /** Opens the ledger in `dir`. Throws when it is damaged. */
  constructor(dir: string, events: RecorderEvents) {
    this.#ledger = new LedgerWriter(dir)
    this.#events = events
  }

  get head(): LedgerHead {
    return this.#ledger.head
  }

  /** Why the ledger cannot be written; undefined while it can. */
  get halted(): string | undefined {
    return this.#halted
  }

  record(event: LedgerEvent): void {
    if (this.#halted !== undefined || this.#closed) return
    try {
      this.#ledger.append(event)
      for (const wake of [...this.#followers]) wake()
    } catch (error) {
      this.#halt(reasonOf(error))
    }
  }

  /** Entries after number `after`, in batches; with `follow` until the follower is gone or the ledger is closed. */
  async *read(after: number, follow: boolean, gone: AbortSignal): AsyncGenerator<LedgerEntry[]> {
    let last = after
    for (;;) {
      for (const entries of this.#ledger.read(last)) {
        last = entries.at(-1)?.seq ?? last
        yield entries
      }
      if (!follow || this.#closed || gone.aborted) return
      if (this.head.seq === last) await this.#next(gone)
    }
  }

  #next(gone: AbortSignal): Promise<void> {
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

  #halt(reason: string): void {
    this.#halted = reason
    const down = this.#events.halt(reason)
    const retry = () => {
      this.#retry = setTimeout(async () => {
        await down
        if (this.#closed) return
        try {
          this.#ledger.append({ by: "init", kind: "ledger-halted", data: { reason: reason.slice(0, 200) } })
        } catch {
          retry()
          return
        }
        this.#halted = undefined
        this.#events.resume()
      }, RETRY_MS)
    }
    retry()
  }

  [Symbol.dispose](): void {
    this.#closed = true
    clearTimeout(this.#retry)
    for (const wake of [...this.#followers]) wake()
    this.#ledger[Symbol.dispose]()
  }
}
