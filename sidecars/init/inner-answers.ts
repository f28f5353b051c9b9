/** Those who wait for inner to answer: each for some kinds of message, for a time, in the order they came. */
import type { InnerAnswer } from "./lifeline.ts"

interface Waiter {
  types: readonly InnerAnswer["type"][]
  settle(answer: InnerAnswer | undefined): void
}

export class InnerAnswers {
  #waiting: Waiter[] = []

  /** Resolves with the next message of one of these kinds; undefined when none came in time, or inner is gone. */
  wait(types: readonly InnerAnswer["type"][], withinMs: number): Promise<InnerAnswer | undefined> {
    return new Promise((resolve) => {
      const waiter: Waiter = {
        types,
        settle: (answer) => {
          clearTimeout(timer)
          this.#waiting = this.#waiting.filter((other) => other !== waiter)
          resolve(answer)
        },
      }
      const timer = setTimeout(() => waiter.settle(undefined), withinMs)
      this.#waiting.push(waiter)
    })
  }

  /** Hands a message to who waits for it; one that nobody asked for goes nowhere. */
  take(message: InnerAnswer): void {
    this.#waiting.find(({ types }) => types.includes(message.type))?.settle(message)
  }

  /** inner is gone: nobody gets an answer any more. */
  drop(): void {
    for (const waiter of [...this.#waiting]) waiter.settle(undefined)
  }
}
