/** The user's own streams as one end of a session: a terminal, or plain pipes. */
import type { TerminalPermission } from "../policy/terminal/permission.ts"
import type { TerminalSize } from "../policy/wire/session.ts"
import type { SessionClient, SessionEvents } from "./session-client.ts"
import { UserPipes } from "./user-pipes.ts"
import { UserTerminal } from "./user-terminal.ts"

export interface UserStreams {
  events: SessionEvents
  size(): TerminalSize
  /** Carries input to the program; resolves with `left` when the user leaves it, otherwise never */
  connect(session: SessionClient): Promise<"left">
  /** Gives the user's streams back */
  restore(): Promise<void>
}

/**
 * For the agent: its terminal can be left by keys; a task has no input. `allow` is what it may do to the terminal beyond
 * its screen.
 */
export function userStreams(mode: "terminal" | "task", allow: ReadonlySet<TerminalPermission>): UserStreams {
  return mode === "terminal" ? new UserTerminal({ detach: true, allow }) : new UserPipes({ input: false })
}

/** For a command beside the agent: it ends with whoever runs it, so every key and all input is its own. */
export function commandStreams(mode: "terminal" | "pipes"): UserStreams {
  return mode === "terminal"
    ? new UserTerminal({ detach: false, allow: new Set() })
    : new UserPipes({ input: true })
}
