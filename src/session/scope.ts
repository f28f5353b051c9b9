/**
 * The steps of a start as things that can be taken back: each registers its undo, and whatever fails or is interrupted
 * is undone in reverse. Nothing after `keep` is taken back.
 */
import type { LaunchScope } from "../backend/types.ts"
import { BottleError, reasonOf } from "../runtime/error.ts"

/** Signals that interrupt a start, with the exit status each stands for. */
const INTERRUPTS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

export interface Phase {
  name: string
  /** Milliseconds from the start of this process */
  from: number
  /** Milliseconds it took */
  took: number
}

export class StartScope implements LaunchScope, AsyncDisposable {
  readonly #undo: { name: string; step: () => Promise<void> }[] = []
  readonly #interrupt = new AbortController()
  /** Signals that came after `keep`, in their order */
  readonly #late: NodeJS.Signals[] = []
  readonly #listeners: [NodeJS.Signals, () => void][] = []
  readonly #tell: (line: string) => void
  readonly phases: Phase[] = []
  #kept = false

  constructor(tell: (line: string) => void) {
    this.#tell = tell
    for (const [signal, exitCode] of Object.entries(INTERRUPTS)) {
      const listener = () => {
        if (this.#kept) this.#late.push(signal as NodeJS.Signals)
        this.#interrupt.abort(
          new BottleError({ what: "Interrupted: everything begun is taken back", exitCode }),
        )
      }
      process.on(signal, listener)
      this.#listeners.push([signal as NodeJS.Signals, listener])
    }
  }

  get signal(): AbortSignal {
    return this.#interrupt.signal
  }

  undo(name: string, step: () => Promise<void>): void {
    this.#undo.push({ name, step })
  }

  progress(line: string): void {
    this.#tell(line)
  }

  async phase<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.signal.throwIfAborted()
    const from = performance.now()
    try {
      const result = await work()
      this.signal.throwIfAborted()
      return result
    } finally {
      this.phases.push({ name, from, took: performance.now() - from })
    }
  }

  /** The start has succeeded: nothing is taken back any more. Throws when it was interrupted before. */
  keep(): void {
    this.signal.throwIfAborted()
    this.#kept = true
  }

  /**
   * Leaves signals to the caller, whose own listeners are there by now, and hands over those that came since `keep`:
   * at no time does a signal find nobody, which would end us and leave a bottle that nobody settles.
   */
  release(): NodeJS.Signals[] {
    this.#unlisten()
    return this.#late.splice(0)
  }

  /** Takes back what was not kept; a step that fails is told and the rest goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#kept) return
    for (const { name, step } of this.#undo.reverse()) {
      try {
        await step()
      } catch (error) {
        this.#tell(`Could not take back ${name}: ${reasonOf(error)}. Run: bottle cleanup`)
      }
    }
    this.#unlisten()
  }

  #unlisten(): void {
    for (const [signal, listener] of this.#listeners.splice(0)) process.off(signal, listener)
  }
}
