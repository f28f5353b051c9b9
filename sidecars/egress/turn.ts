/** Keeps one busy stream from holding up all others: the event loop gets its turn after a slice of work. */
import { TURN_MS } from "./limits.ts"

/**
 * One slice after the other. Awaiting what is here already never leaves the queue of microtasks: a megabyte in chunks
 * of one byte, or a pile of pipelined requests, would be worked off before any other connection is looked at.
 */
export class Turn {
  #since = performance.now()

  get over(): boolean {
    return performance.now() - this.#since > TURN_MS
  }

  /** Resolves when everything else that is ready has run. */
  async pass(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve))
    this.#since = performance.now()
  }
}
