/** One session as the person sees it: preflight, question, start, the agent's terminal, and how it ended. */
import { sweep } from "../bottle/state.ts"
import { trustIn } from "../manifest/trust.ts"
import { canAsk, confirm } from "../runtime/ask.ts"
import { BottleError, reasonOf, usageError } from "../runtime/error.ts"
import { paint, print, tell } from "../runtime/output.ts"
import { restoreTerminal } from "../runtime/terminal.ts"
import { noteUse } from "../session/last-backends.ts"
import { preflightData, showPreflight } from "../session/preflight.ts"
import { type Prepared, prepare, type StartSpec } from "../session/prepare.ts"
import { type Phase, StartScope } from "../session/scope.ts"
import { resolveSecrets } from "../session/secrets.ts"
import { type Settled, settleBottle } from "../session/settle.ts"
import { type Started, startBottle } from "../session/start.ts"
import type { CliContext } from "./context.ts"
import { untilLeft } from "./user-part.ts"

export interface SessionOptions {
  yes: boolean
  dryRun: boolean
  format: "text" | "json"
  profile: boolean
}

/** Runs a session to its end, or to its detaching. Returns the exit status. */
export async function runSession(
  spec: StartSpec,
  context: CliContext,
  options: SessionOptions,
): Promise<number> {
  const { home, env } = context
  const before = performance.now()
  const prepared = await prepare(spec, { home, env, manifests: context.manifests() })
  const preparing: Phase = { name: "prepare", from: before, took: performance.now() - before }
  const data = options.format === "json" ? JSON.stringify(preflightData(prepared), null, 2) : undefined
  if (options.dryRun && data !== undefined) print(data)
  else showPreflight(prepared)
  if (options.dryRun) return 0
  if (!(await agreed(prepared, home, options))) {
    tell("Not started.")
    return 1
  }
  const secrets = await resolveSecrets(prepared, home, env)
  await sweep(home)
  const colour = paint("stderr")
  if (prepared.session === "terminal") tell(colour.dim("ctrl-\\ d leaves it running"))
  const scope = new StartScope((line) => tell(colour.dim(line)))
  const started = await begin(prepared, secrets, { home, env, scope })
  using _state = started.state
  // While the agent runs already.
  const noted = noteStart(prepared, home)
  if (options.profile) showProfile([preparing, ...scope.phases])
  const status = await finish(prepared, started, scope, data)
  const fault = await noted
  if (fault !== undefined) tell(`${colour.warn("not noted:")} ${fault}`)
  return status
}

/** Notes what the next choice of a backend is compared with; a resumed bottle was no choice. Answers with what went wrong. */
async function noteStart({ agent, backend, spec }: Prepared, home: string): Promise<string | undefined> {
  if (spec.resume !== undefined) return undefined
  try {
    await noteUse(home, agent.file, backend.name)
    return undefined
  } catch (error) {
    return `${agent.name} ran on ${backend.name} (${reasonOf(error)})`
  }
}

/** Starts, and takes back what was begun when that fails. */
async function begin(
  prepared: Prepared,
  secrets: Parameters<typeof startBottle>[1],
  context: Parameters<typeof startBottle>[2],
): Promise<Started> {
  await using _ = context.scope
  try {
    return await startBottle(prepared, secrets, context)
  } catch (error) {
    // What failed because of the interruption is told as the interruption.
    if (context.scope.signal.aborted && !(error instanceof BottleError && error.exitCode > 2)) {
      throw context.scope.signal.reason
    }
    throw error
  }
}

/** A repository's agent is agreed to by its content; `--yes` alone never covers one not seen before. */
async function agreed(prepared: Prepared, home: string, options: SessionOptions): Promise<boolean> {
  const { agent } = prepared
  const trust = trustIn(home)
  const known = agent.origin === "home" || (await trust.isTrusted(agent.hash))
  if (options.yes && known) return true
  if (!canAsk()) {
    throw usageError(
      known
        ? "Cannot ask whether to start without a terminal"
        : `The repository's agent ${agent.name} was not seen before`,
      known ? "Add --yes" : "Start it once from a terminal, where you can read what it is and agree",
    )
  }
  const question = known
    ? "Start?"
    : "This agent came with the repository. Have you read its file, and start it?"
  if (!(await confirm(question))) return false
  if (!known) await trust.trust(agent.hash, { name: agent.name, file: agent.file })
  return true
}

/** `data` is what a detached start prints instead of its identity. */
async function finish(
  prepared: Prepared,
  started: Started,
  scope: StartScope,
  data?: string,
): Promise<number> {
  const { identity } = prepared
  const colour = paint("stderr")
  if (prepared.session === "detached") {
    tell(`${colour.good("started")} ${colour.strong(identity)}  ${colour.dim(`bottle attach ${identity}`)}`)
    print(data ?? identity)
    return 0
  }
  const { end, status } = await untilLeft(
    started,
    prepared.session,
    { backend: prepared.backend, identity },
    () => scope.release(),
  )
  if (prepared.session === "terminal" && prepared.backend.streams === "backend") restoreTerminal()
  if (end.kind === "detached") {
    tell(
      `Detached from ${colour.strong(identity)}, which runs on. Back to it: ${colour.name(`bottle attach ${identity}`)}`,
    )
    return status
  }
  tellSettled(identity, await settleBottle(prepared.backend, started.state, end.code))
  return status
}

/** Tells what became of an ended bottle. */
export function tellSettled(identity: string, settled: Settled): void {
  const colour = paint("stderr")
  if (!settled.kept) {
    tell(colour.dim(`${identity} ended with nothing to keep, and is gone.`))
    return
  }
  tell(`Kept ${colour.strong(identity)}: ${settled.reason}.`)
  tell(`Go on with it: ${colour.name(`bottle resume ${identity}`)}`)
}

function showProfile(phases: Phase[]): void {
  const colour = paint("stderr")
  const ms = (value: number) => `${Math.round(value)} ms`.padStart(8)
  for (const phase of phases.toSorted((a, b) => a.from - b.from)) {
    tell(`${colour.dim(ms(phase.from))} ${phase.name.padEnd(10)} ${ms(phase.took)}`)
  }
}
