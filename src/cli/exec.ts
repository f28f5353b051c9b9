/** `bottle exec <identity> -- command`: runs a command beside the agent, with its environment and in its workspace. */
import { constants } from "node:os"
import { defineCommand } from "citty"
import { SessionClient, type SessionOutcome } from "../gateway/session-client.ts"
import { commandStreams, type UserStreams } from "../gateway/user-streams.ts"
import { lengthOf, type SessionRequest } from "../policy/wire/lifeline.ts"
import { COMMAND_MAX } from "../policy/wire/session.ts"
import { BottleError, usageError } from "../runtime/error.ts"
import { allowLostTerminal, isTerminal, tell } from "../runtime/output.ts"
import { ownerAlive } from "../runtime/process-owner.ts"
import { headKeeper } from "../session/ledger-heads.ts"
import { type FoundBottle, findBottle } from "./bottles.ts"
import { cliContext } from "./context.ts"

/** Status of a program whose reader has gone, as a shell tells of SIGPIPE. */
const BROKEN_PIPE = 128 + constants.signals.SIGPIPE
/** Longest name of a terminal that is passed on, in characters. */
const TERM_MAX = 64

export default defineCommand({
  meta: {
    name: "bottle exec",
    description: "Run a command beside an agent: bottle exec <identity> -- command",
  },
  args: { identity: { type: "positional", required: true, description: "as `bottle list active` shows it" } },
  async run({ args, rawArgs }) {
    const { home, env } = cliContext()
    const argv = rawArgs.slice(rawArgs.indexOf("--") + 1)
    if (lengthOf(argv) > COMMAND_MAX) {
      throw usageError(
        `The command is longer than ${COMMAND_MAX / 1024} KiB`,
        `Give what is long as input: bottle exec ${args.identity} -- sh < file`,
      )
    }
    const bottle = await findBottle(home, args.identity)
    await checkRuns(bottle)
    return runBeside(bottle, argv, env.TERM ?? "")
  },
})

/** What belongs to the command and what to us cannot be told apart without `--`. */
export function checkCall(args: readonly string[]): void {
  const dashes = args.indexOf("--")
  if (dashes > 0 && dashes < args.length - 1) return
  const [identity = "<identity>", ...words] = args.filter((arg) => arg !== "--")
  const command = words.length === 0 ? "bash" : words.join(" ")
  if (dashes === 0)
    throw usageError(
      "`bottle exec` needs to know where",
      `Write: bottle exec <identity> -- ${args.slice(1).join(" ") || "bash"}`,
    )
  throw usageError("`bottle exec` needs a command behind --", `Write: bottle exec ${identity} -- ${command}`)
}

async function checkRuns({ backend, metadata, state }: FoundBottle): Promise<void> {
  const { identity } = state
  if (metadata.phase === "starting" && (await ownerAlive(metadata.owner))) {
    throw new BottleError({
      what: `${identity} is still starting`,
      why: `process ${metadata.owner.pid} is bringing it up`,
      next: "Try again when its agent runs",
    })
  }
  const active = (await backend.list()).find((other) => other.identity === identity)
  if (active === undefined || active.status === "ended") {
    throw new BottleError({
      what: `${identity} does not run`,
      why: metadata.phase === "starting" ? "its start was cut short" : "its agent has ended",
      next:
        metadata.phase === "starting"
          ? "Run `bottle cleanup`, then start again"
          : `Run \`bottle resume ${identity}\` to go on with it`,
    })
  }
  if (active.status === "broken") {
    throw new BottleError({
      what: `${identity} cannot be reached`,
      why: "its gateway does not run",
      next: `Start and load it: bottle reload ${identity}`,
    })
  }
}

async function runBeside(bottle: FoundBottle, argv: string[], term: string): Promise<number> {
  const { identity } = bottle.state
  const mode = process.stdin.isTTY && isTerminal("stdout") ? "terminal" : "pipes"
  const user = commandStreams(mode)
  const request: SessionRequest = {
    kind: "exec",
    argv,
    ...(mode === "terminal" ? { terminal: { term: term.slice(0, TERM_MAX), size: user.size() } } : {}),
  }
  const keep = headKeeper(bottle.state)
  using signals = new CallerSignals(mode)
  await using streams = bottle.backend.control(identity)
  const opened = SessionClient.open(identity, streams, request, { ...user.events, head: keep.onHead })
  opened.catch(() => {})
  const session = await Promise.race([opened, signals.left])
  if (typeof session === "number") return session
  const remembered = keep.settled()
  remembered.catch(() => {})
  signals.passTo(session)
  const end = await follow(session, user, signals)
  await remembered
  if (typeof end === "number") return end
  if (end.kind === "exited") {
    if (end.withAgent) tell(`The agent of ${identity} ended, and the command with it.`)
    return end.code
  }
  throw new BottleError({
    what: "The end of the command was not seen",
    why: streams.complaint() || `${identity} ended, or its gateway did`,
    next: `See what became of it: bottle log ${identity}`,
  })
}

/** The command's end, or the status to leave with when the caller went first. */
async function follow(
  session: SessionClient,
  user: UserStreams,
  signals: CallerSignals,
): Promise<SessionOutcome | number> {
  try {
    const end = await Promise.race([session.ended, user.connect(session), signals.left])
    return end === "left" ? BROKEN_PIPE : end
  } finally {
    await user.restore()
  }
}

/**
 * What signals to us mean for the command. Ctrl-C is the command's: as a key on a terminal, as a signal without one.
 * Whoever closes the window ends the command, which is told so by SIGHUP and then ended.
 */
class CallerSignals implements Disposable {
  readonly #left = Promise.withResolvers<number>()
  readonly #listeners: [NodeJS.Signals, () => void][]
  #session: SessionClient | undefined

  constructor(mode: "terminal" | "pipes") {
    const leave = (signal: NodeJS.Signals) => this.#left.resolve(128 + constants.signals[signal])
    let ends = 0
    const passOn = (signal: "SIGINT" | "SIGQUIT" | "SIGTERM") => {
      // Whoever asks a second time does not wait for a command that will not go, or a sandbox that does not answer.
      if (signal === "SIGTERM") ends += 1
      if (this.#session === undefined || ends > 1) leave(signal)
      else this.#session.signal(signal)
    }
    this.#listeners = [
      ["SIGINT", () => passOn("SIGINT")],
      ["SIGQUIT", () => passOn("SIGQUIT")],
      // A shell on a terminal ignores it, and is meant to end with its window.
      ["SIGTERM", () => (mode === "terminal" ? leave("SIGTERM") : passOn("SIGTERM"))],
      [
        "SIGHUP",
        () => {
          allowLostTerminal()
          leave("SIGHUP")
        },
      ],
    ]
    for (const [signal, listener] of this.#listeners) process.on(signal, listener)
  }

  /** Resolves with the status to leave with. */
  get left(): Promise<number> {
    return this.#left.promise
  }

  passTo(session: SessionClient): void {
    this.#session = session
  }

  [Symbol.dispose](): void {
    for (const [signal, listener] of this.#listeners) process.off(signal, listener)
  }
}
