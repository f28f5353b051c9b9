/** Upstream connections that are kept open between requests, per origin, bounded in number and time. */
import { type Expiring, unwatch, watch } from "./deadline.ts"
import {
  IDLE_PER_HOST_MAX,
  IDLE_TOTAL_MAX,
  PER_HOST_MAX,
  PER_HOST_QUEUE_MAX,
  POOL_FRESH_MS,
  POOL_IDLE_MS,
} from "./limits.ts"
import type { Wire } from "./wire.ts"

export interface Upstream {
  readonly wire: Wire
  /** Address that was dialled; empty when a proxy dialled for us */
  readonly address: string
  /** True when it has carried a request before */
  reused: boolean
}

/** Too many requests wait for one origin. */
export class PoolFull extends Error {
  override readonly name = "PoolFull"
}

class Origin {
  /** Connections that are open or being opened */
  open = 0
  /** Those nobody uses, the freshest last */
  idle: IdleUpstream[] = []
  waiting: (() => void)[] = []
}

class IdleUpstream implements Expiring {
  readonly upstream: Upstream
  readonly since = performance.now()
  deadline = this.since + POOL_IDLE_MS
  readonly #drop: (idle: IdleUpstream) => void

  constructor(upstream: Upstream, drop: (idle: IdleUpstream) => void) {
    this.upstream = upstream
    this.#drop = drop
    watch(this)
  }

  expire(): void {
    this.#drop(this)
  }
}

export class Pool {
  readonly #origins = new Map<string, Origin>()
  #idleTotal = 0

  /**
   * A connection for one request: an idle one that `fits`, else a new one from `dial`. With `fresh` only one used
   * moments ago is taken, for requests that must not be sent twice. Throws PoolFull and what `dial` throws.
   */
  async acquire(
    key: string,
    options: { fresh: boolean; forceNew: boolean; fits: (upstream: Upstream) => boolean },
    dial: () => Promise<Upstream>,
  ): Promise<Upstream> {
    const origin = this.#origin(key)
    for (;;) {
      const idle = options.forceNew ? undefined : this.#takeIdle(key, origin, options)
      if (idle !== undefined) return idle
      if (origin.open < PER_HOST_MAX) break
      const oldest = origin.idle[0]
      if (oldest !== undefined) {
        this.#drop(key, origin, oldest)
        break
      }
      if (origin.waiting.length >= PER_HOST_QUEUE_MAX)
        throw new PoolFull("too many requests wait for this host")
      await new Promise<void>((resolve) => origin.waiting.push(resolve))
    }
    // Dropping its last idle connection may have taken the origin off the list: counted on two, it would have no bound.
    this.#origins.set(key, origin)
    origin.open++
    try {
      return await dial()
    } catch (error) {
      this.#freeSlot(key, origin)
      throw error
    }
  }

  /** Takes a connection back. It is closed unless it is clean: nothing unread, nothing half-written, still open. */
  release(key: string, upstream: Upstream, clean: boolean): void {
    const origin = this.#origin(key)
    const { wire } = upstream
    if (!clean || wire.peerGone || wire.held > 0 || this.#idleTotal >= IDLE_TOTAL_MAX) {
      wire.destroy()
      this.#freeSlot(key, origin)
      return
    }
    wire.deadline = Number.POSITIVE_INFINITY
    upstream.reused = true
    const idle = new IdleUpstream(upstream, (item) => this.#drop(key, origin, item))
    wire.onGone = () => this.#drop(key, origin, idle)
    origin.idle.push(idle)
    this.#idleTotal++
    if (origin.idle.length > IDLE_PER_HOST_MAX) this.#drop(key, origin, origin.idle[0]!)
    origin.waiting.shift()?.()
  }

  #takeIdle(
    key: string,
    origin: Origin,
    options: { fresh: boolean; fits: (upstream: Upstream) => boolean },
  ): Upstream | undefined {
    for (;;) {
      const idle = origin.idle.at(-1)
      if (idle === undefined) return undefined
      const { wire } = idle.upstream
      // Bytes that come while nothing was asked are an answer to nobody: response splitting ends here.
      if (wire.peerGone || wire.held > 0 || !options.fits(idle.upstream)) {
        this.#drop(key, origin, idle)
        continue
      }
      if (options.fresh && performance.now() - idle.since > POOL_FRESH_MS) return undefined
      origin.idle.pop()
      this.#idleTotal--
      unwatch(idle)
      wire.onGone = undefined
      return idle.upstream
    }
  }

  #drop(key: string, origin: Origin, idle: IdleUpstream): void {
    const at = origin.idle.indexOf(idle)
    if (at < 0) return
    origin.idle.splice(at, 1)
    this.#idleTotal--
    unwatch(idle)
    idle.upstream.wire.onGone = undefined
    idle.upstream.wire.destroy()
    this.#freeSlot(key, origin)
  }

  #freeSlot(key: string, origin: Origin): void {
    origin.open--
    const next = origin.waiting.shift()
    if (next !== undefined) next()
    else if (origin.open === 0) this.#origins.delete(key)
  }

  #origin(key: string): Origin {
    let origin = this.#origins.get(key)
    if (origin === undefined) {
      origin = new Origin()
      this.#origins.set(key, origin)
    }
    return origin
  }
}
