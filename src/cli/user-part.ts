/** What signals to us mean while the agent runs, until the user's part in the session is over. */
import { constants } from "node:os"
import type { Backend, SessionEnd } from "../backend/types.ts"
import { reasonOf } from "../runtime/error.ts"
import { allowLostTerminal, paint, tell } from "../runtime/output.ts"

export interface UserPart {
  end: Promise<SessionEnd>
  /** Ends the user's part; the agent runs on */
  leave(): void
}

/** How the user's part ended. */
export interface UserPartEnd {
  end: SessionEnd
  /** Status to leave with: the agent's, 0 after a detach, 128 plus the number of the signal that made us leave */
  status: number
}

/**
 * On a terminal Ctrl-C belongs to the agent, which gets it as a key, so that our own copy is passed over; whoever ends
 * us, or closes the window, leaves the agent running. Without a terminal an end of ours is meant for the task.
 * `takeOver` ends the care of whoever listened to signals until now, and hands over those that it could not serve.
 */
export async function untilLeft(
  part: UserPart,
  mode: "terminal" | "task",
  agent: { backend: Backend; identity: string },
  takeOver: () => NodeJS.Signals[] = () => [],
): Promise<UserPartEnd> {
  let status = 0
  const leave = (signal: NodeJS.Signals) => {
    if (signal === "SIGHUP") allowLostTerminal()
    status = 128 + constants.signals[signal]
    part.leave()
  }
  const passOn = (signal: NodeJS.Signals) => {
    agent.backend.signal(agent.identity, signal === "SIGINT" ? "SIGINT" : "SIGTERM").catch((error) => {
      tell(paint("stderr").warn(`Its agent did not get ${signal}: ${reasonOf(error)}`))
    })
  }
  const passOver = () => {}
  const listeners: [NodeJS.Signals, (signal: NodeJS.Signals) => void][] = [
    ["SIGINT", mode === "task" ? passOn : passOver],
    ["SIGQUIT", passOver],
    ["SIGTERM", mode === "task" ? passOn : leave],
    ["SIGHUP", leave],
  ]
  for (const [signal, listener] of listeners) process.on(signal, listener)
  const handlers = new Map(listeners)
  for (const signal of takeOver()) handlers.get(signal)?.(signal)
  try {
    const end = await part.end
    return { end, status: end.kind === "exited" ? end.code : status }
  } finally {
    for (const [signal, listener] of listeners) process.off(signal, listener)
  }
}
