/**
 * What egress tells the ledger. Single events while there are few; sums once a second when there are many, so that
 * neither a busy build nor a flood made on purpose fills the ledger. Nothing is left out of the sums.
 */
import { type Denial, showable } from "../../src/policy/denial.ts"
import type { LedgerEvent } from "../../src/policy/ledger.ts"
import { REPORT_BURST, REPORT_PATH_MAX, REPORT_RATE, REPORT_SUMS_MAX, REPORT_WINDOW_MS } from "./limits.ts"

/** A request that was forwarded and answered. */
export interface Passage {
  method: string
  host: string
  /** Canonical path without query */
  path: string
  /** Status code the client got; 0 when the upstream got something and gave no answer that could pass */
  status: number
  /** Body bytes towards the upstream and back */
  up: number
  down: number
  /** Time from the request's head to the end of its answer, in ms */
  ms: number
  /** Scheme of the credential that was added, empty when none was */
  auth: string
}

/** Where a refused request wanted to go. */
export interface Attempt {
  method: string
  host: string
  /** Path without query, possibly empty */
  path: string
}

type Data = LedgerEvent["data"]

export class Journal {
  readonly #send: (event: LedgerEvent) => void
  #tokens = REPORT_BURST
  #filledAt = performance.now()
  #sums = new Map<string, { kind: string; data: Data }>()
  /** Denials sent within this window */
  #seen = new Set<string>()
  #timer: NodeJS.Timeout | undefined

  constructor(send: (event: LedgerEvent) => void) {
    this.#send = send
  }

  /** Sends one event as it is. */
  note(kind: string, data: Data): void {
    this.#send({ by: "egress", kind, data })
  }

  allow(passage: Passage): void {
    const { method, host, status, up, down } = passage
    const one: Data = {
      method,
      host,
      path: showable(passage.path, REPORT_PATH_MAX),
      status,
      up,
      down,
      ms: Math.round(passage.ms),
      auth: passage.auth,
    }
    this.#transfer("allow", one, `${method} ${status} ${host}`, { method, host, status })
  }

  /** Reports the end of a tunnel or WebSocket: `up` and `down` are bytes, `ms` its life. */
  ended(
    kind: "tunnel-end" | "websocket-end",
    end: { host: string; up: number; down: number; ms: number },
  ): void {
    const { host } = end
    this.#transfer(kind, { ...end, ms: Math.round(end.ms) }, host, { host })
  }

  deny(denial: Denial, attempt: Attempt): void {
    const data: Data = {
      rule: denial.rule,
      method: showable(attempt.method, 32),
      host: showable(attempt.host, 253),
      path: showable(attempt.path, REPORT_PATH_MAX),
    }
    // Ever different paths must not make ever more events: the sums of a flood go without them.
    const { path: _, ...flood } = data
    this.repeatable("deny", data, flood)
  }

  /** Reports an event of which equal ones may follow; `flood` is what is left of it when there are too many. */
  repeatable(kind: string, data: Data, flood: Data = data): void {
    const key = `${kind} ${Object.values(data).join(" ")}`
    this.#startWindow()
    if (this.#seen.has(key)) {
      this.#sum(kind, key, data)
    } else if (this.#take()) {
      if (this.#seen.size < REPORT_SUMS_MAX) this.#seen.add(key)
      this.note(kind, data)
    } else {
      this.#sum(kind, Object.values(flood).join(" "), flood)
    }
  }

  /** Sends what is summed up; for the end of the process. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const { kind, data } of this.#sums.values()) this.note(kind, data)
    this.#sums = new Map()
    this.#seen = new Set()
  }

  /** One event with bytes while there are few; beyond, a sum under `key` that keeps what `shared` says. */
  #transfer(kind: string, one: Data, key: string, shared: Data): void {
    if (this.#take()) {
      this.note(kind, one)
      return
    }
    const sum = this.#sum(kind, key, { ...shared, up: 0, down: 0 })
    sum.up = Number(sum.up) + Number(one.up)
    sum.down = Number(sum.down) + Number(one.down)
  }

  #sum(kind: string, key: string, first: Data): Data {
    this.#startWindow()
    let name = `${kind} ${key}`
    const many = !this.#sums.has(name) && this.#sums.size >= REPORT_SUMS_MAX
    // No key has a line end: what the bottle sends cannot fall into this sum while there is room.
    if (many) name = `${kind}\n`
    let sum = this.#sums.get(name)
    if (sum === undefined) {
      const data: Data = many ? { host: "(many)", up: 0, down: 0 } : { ...first }
      sum = { kind, data: { ...data, count: 0 } }
      this.#sums.set(name, sum)
    }
    sum.data.count = Number(sum.data.count) + 1
    return sum.data
  }

  #startWindow(): void {
    this.#timer ??= setTimeout(() => this.flush(), REPORT_WINDOW_MS)
  }

  #take(): boolean {
    const now = performance.now()
    this.#tokens = Math.min(REPORT_BURST, this.#tokens + ((now - this.#filledAt) / 1000) * REPORT_RATE)
    this.#filledAt = now
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }
}
