/** The demo's bottle: started as `bottle start` does, asked as `bottle routes edit` and `bottle log` ask. */
import { stringify } from "yaml"
import { type FoundBottle, findBottle, withGateway } from "../cli/bottles.ts"
import { checkLedger } from "../cli/ledger-check.ts"
import { livePolicy, parseRoutes, routesText } from "../gateway/routes-text.ts"
import { SessionClient } from "../gateway/session-client.ts"
import { loadManifests } from "../manifest/load.ts"
import { BottleError, reasonOf } from "../runtime/error.ts"
import { prepare, type StartSpec } from "../session/prepare.ts"
import type { StartScope } from "../session/scope.ts"
import { resolveSecrets } from "../session/secrets.ts"
import { startBottle } from "../session/start.ts"
import { AGENT_NAME, DEMO_RANGE, type DemoHome } from "./home.ts"
import type { Seen, Stage } from "./stage.ts"

/** A refusal takes milliseconds; what takes longer is stuck somewhere it should not have got to. In milliseconds. */
const COMMAND_WITHIN_MS = 5000
/** More than any answer of the demo's, in characters */
const OUTPUT_MAX = 64 * 1024

export interface DemoBottle extends AsyncDisposable {
  identity: string
  /** What isolates it, and what that cannot promise */
  about: { found: string; notes: string[] }
  sh: Stage["sh"]
  open: Stage["open"]
  ledger: Stage["ledger"]
}

/** Starts it. When it throws, all that was begun is taken back. */
export async function startDemoBottle({ home, cwd, env }: DemoHome, scope: StartScope): Promise<DemoBottle> {
  const spec: StartSpec = {
    agent: AGENT_NAME,
    detach: true,
    terminal: false,
    purpose: "start",
    remoteControl: false,
    args: [],
  }
  const prepared = await prepare(spec, { home, env, manifests: loadManifests({ home, cwd, userHome: cwd }) })
  const { backend, identity, probe } = prepared
  const secrets = await resolveSecrets(prepared, home, env)
  const started = await begun(scope, () => startBottle(prepared, secrets, { home, env, scope }))
  let bottle: FoundBottle
  const end = async () => {
    started.state[Symbol.dispose]()
    await backend.remove(identity, { keepWork: false })
  }
  try {
    bottle = await findBottle(home, identity)
  } catch (error) {
    await end()
    throw error
  }
  return {
    identity,
    about: { found: probe.found, notes: probe.notes },
    sh: (command) => runInside(bottle, command, scope.signal),
    open: (host) =>
      withGateway(bottle, async (client) => {
        const live = await livePolicy(client, identity)
        // As a person would write it below the others.
        const added = stringify([{ host, private: [DEMO_RANGE] }], { indent: 2 }).replace(/^/gm, "  ")
        return (await client.policy(parseRoutes(`${routesText(live)}${added}`, live))).generation
      }),
    ledger: async () => {
      const entries = await withGateway(bottle, (client) => Array.fromAsync(client.ledger(0, false)))
      try {
        return { entries, whole: true, says: await checkLedger(bottle, true) }
      } catch (error) {
        return { entries, whole: false, says: reasonOf(error) }
      }
    },
    [Symbol.asyncDispose]: end,
  }
}

async function begun<T>(scope: StartScope, start: () => Promise<T>): Promise<T> {
  try {
    return await start()
  } catch (error) {
    await scope[Symbol.asyncDispose]()
    // What failed because of the interruption is told as the interruption.
    throw scope.signal.aborted ? scope.signal.reason : error
  }
}

/** One command beside the agent, with the agent's environment. */
async function runInside(
  { backend, state }: FoundBottle,
  command: string,
  signal: AbortSignal,
): Promise<Seen> {
  signal.throwIfAborted()
  const seen = { stdout: "", stderr: "" }
  const into = (name: keyof typeof seen) => (chunk: Uint8Array) => {
    seen[name] = (seen[name] + Buffer.from(chunk).toString()).slice(0, OUTPUT_MAX)
  }
  const streams = backend.control(state.identity)
  await using _streams = streams
  const session = await SessionClient.open(
    state.identity,
    streams,
    { kind: "exec", argv: ["sh", "-c", command] },
    { output: into("stdout"), errors: into("stderr") },
  )
  await using _session = session
  session.endInput()
  const over = AbortSignal.any([signal, AbortSignal.timeout(COMMAND_WITHIN_MS)])
  const given = Promise.withResolvers<"over">()
  over.addEventListener("abort", () => given.resolve("over"), { once: true })
  const outcome = await Promise.race([session.ended, given.promise])
  signal.throwIfAborted()
  if (outcome === "over") return { code: undefined, ...seen }
  if (outcome.kind === "exited") return { code: outcome.code, ...seen }
  throw new BottleError({
    what: "The demo's bottle is gone",
    why: `it ended while this ran in it: ${command.split("\n").at(-1)}`,
    next: "Run: bottle doctor",
  })
}
