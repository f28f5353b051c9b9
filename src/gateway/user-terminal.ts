/**
 * The user's terminal while a program has it: filtered output one way, keys the other. It belongs to the program from
 * its first moment on, and is given back as it was.
 */
import { DetachKeys } from "../policy/terminal/detach-keys.ts"
import { TerminalFilter } from "../policy/terminal/filter.ts"
import { TerminalModes } from "../policy/terminal/modes.ts"
import type { TerminalPermission } from "../policy/terminal/permission.ts"
import { LAST_QUESTION, ReplyDrain } from "../policy/terminal/replies.ts"
import type { TerminalSize } from "../policy/wire/session.ts"
import { claimTerminal, releaseTerminal, takesSequences } from "../runtime/terminal.ts"
import type { SessionClient, SessionEvents } from "./session-client.ts"
import type { UserStreams } from "./user-streams.ts"

/** Time for answers that are under way, in milliseconds: some multiplexers pass the last question to nobody. */
const ANSWERS_MS = 250
/** Largest window that is told, in rows and columns */
const WINDOW_MAX = 4096
const LF = 0x0a

const PUSH_TITLE = "\u001b[22;0t"
const POP_TITLE = "\u001b[23;0t"
const HOME_AND_CLEAR = "\u001b[H\u001b[J"
const CLEAR_BELOW = "\u001b[J"

export class UserTerminal implements UserStreams {
  readonly #detach: boolean
  readonly #allow: ReadonlySet<TerminalPermission>
  #filter: TerminalFilter
  #modes = new TerminalModes()
  readonly #replies = new ReplyDrain()
  readonly #keys = new DetachKeys()
  readonly #left = Promise.withResolvers<"left">()
  #session: SessionClient | undefined
  /** The terminal is the program's */
  #raw = false
  /** The user's part is over: what the program writes from now on is not shown */
  #over = false
  #waitsForDrain = false
  /** Last byte that was shown, 0 before the first */
  #last = 0

  readonly events: SessionEvents = {
    begun: () => this.#takeOver(),
    screen: () => this.#beginAnew(),
    output: (chunk) => this.#show(chunk),
  }

  /** With `detach` two keys leave the program; without, they are keys like any other. */
  constructor({ detach, allow }: { detach: boolean; allow: ReadonlySet<TerminalPermission> }) {
    this.#detach = detach
    this.#allow = allow
    this.#filter = new TerminalFilter({ allow })
  }

  size(): TerminalSize {
    const { rows, columns } = process.stdout
    if (!rows || !columns) return { rows: 24, columns: 80 }
    return { rows: Math.min(rows, WINDOW_MAX), columns: Math.min(columns, WINDOW_MAX) }
  }

  connect(session: SessionClient): Promise<"left"> {
    this.#session = session
    process.on("SIGWINCH", this.#onResize)
    process.on("SIGCONT", this.#onContinue)
    process.stdin.on("data", this.#onKeys)
    if (!this.#raw) process.stdin.pause()
    else process.stdin.resume()
    return this.#left.promise
  }

  async restore(): Promise<void> {
    this.#over = true
    process.off("SIGWINCH", this.#onResize)
    process.off("SIGCONT", this.#onContinue)
    process.stdin.off("data", this.#onKeys)
    if (!this.#raw) return
    this.#raw = false
    // First, so that what the mouse does until the answer is not reported any more.
    this.#put(this.#modes.reset())
    if (this.#replies.pending() || this.#modes.reports) await this.#lastAnswers()
    releaseTerminal()
    process.stdin.pause()
    process.stdin.unref()
    if (takesSequences() && this.#allow.has("title")) this.#put(POP_TITLE)
    // The alternate screen gave back the line that the program was called from, which is empty.
    if (this.#last !== LF && this.#last !== 0 && this.#modes.screen === "main") this.#put("\r\n")
    // The rest of the program's screen would stand among the lines to come.
    if (takesSequences()) this.#put(CLEAR_BELOW)
  }

  #takeOver(): void {
    if (this.#raw || !process.stdin.isTTY) return
    this.#raw = true
    claimTerminal()
    process.stdin.resume()
    if (takesSequences() && this.#allow.has("title")) this.#put(PUSH_TITLE)
    // It may have changed since it was told.
    this.#session?.resize(this.size())
  }

  /** The screen so far is another program's or out of date. What the user had before goes where it can be scrolled to. */
  #beginAnew(): void {
    if (this.#over) return
    this.#put(this.#modes.reset())
    if (takesSequences()) {
      if (this.#last === 0) this.#put("\n".repeat(this.size().rows - 1))
      this.#put(HOME_AND_CLEAR)
    }
    this.#filter = new TerminalFilter({ allow: this.#allow })
    this.#modes = new TerminalModes()
  }

  #show(chunk: Uint8Array): void {
    if (this.#over) return
    const shown = this.#filter.push(chunk)
    if (shown.length === 0) return
    this.#modes.push(shown)
    this.#replies.sent(shown)
    this.#last = shown.at(-1) ?? 0
    this.#put(shown)
  }

  #put(bytes: Uint8Array | string): void {
    if (bytes.length === 0 || process.stdout.write(bytes)) return
    this.#session?.pause()
    if (this.#waitsForDrain) return
    this.#waitsForDrain = true
    process.stdout.once("drain", () => {
      this.#waitsForDrain = false
      this.#session?.resume()
    })
  }

  readonly #onResize = () => this.#session?.resize(this.size())

  /** Whoever stopped us had the terminal for themselves in the meantime. */
  readonly #onContinue = () => {
    if (!this.#raw) return
    releaseTerminal()
    claimTerminal()
    this.#onResize()
  }

  readonly #onKeys = (chunk: Buffer) => {
    this.#replies.push(chunk)
    if (!this.#detach) {
      this.#type(chunk)
      return
    }
    const { typed, detach } = this.#keys.push(chunk)
    this.#type(typed)
    if (detach) this.#left.resolve("left")
  }

  #type(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#session === undefined || this.#session.write(bytes)) return
    process.stdin.pause()
    this.#session.onceDrained(() => process.stdin.resume())
  }

  /** What the terminal has still to say would be typed into the user's shell. */
  async #lastAnswers(): Promise<void> {
    const done = Promise.withResolvers<void>()
    const read = (chunk: Buffer) => {
      this.#replies.push(chunk)
      if (!this.#replies.pending()) done.resolve()
    }
    process.stdin.on("data", read)
    process.stdin.once("close", done.resolve)
    const timer = setTimeout(done.resolve, ANSWERS_MS)
    this.#replies.sent(LAST_QUESTION)
    this.#put(LAST_QUESTION)
    process.stdin.resume()
    await done.promise
    clearTimeout(timer)
    process.stdin.off("data", read)
    process.stdin.off("close", done.resolve)
  }
}
