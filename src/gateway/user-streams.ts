/** The user's own streams as one end of a session: a terminal, or plain pipes. */
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

/** For the agent: its terminal can be left by keys; a task has no input. */
export function userStreams(mode: "terminal" | "task"): UserStreams {
  return mode === "terminal" ? new UserTerminal({ detach: true }) : new UserPipes({ input: false })
}

/** For a command beside the agent: it ends with whoever runs it, so every key and all input is its own. */
export function commandStreams(mode: "terminal" | "pipes"): UserStreams {
  return mode === "terminal" ? new UserTerminal({ detach: false }) : new UserPipes({ input: true })
}
