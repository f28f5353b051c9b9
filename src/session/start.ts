/** From a plan to a running agent: acquires in order, each step with its undo, the agent's process last. */
import { X509Certificate } from "node:crypto"
import type { Sandbox, SandboxPlan, SessionEnd } from "../backend/types.ts"
import type { Metadata } from "../bottle/metadata.ts"
import {
  createState,
  type HeldState,
  lockState,
  openState,
  readMetadata,
  removeState,
  writeMetadata,
} from "../bottle/state.ts"
import { ControlClient, type ControlStreams, prepareForAnswers } from "../gateway/control-client.ts"
import { EMPTY_HEAD } from "../policy/ledger.ts"
import { WORKSPACE } from "../policy/paths.ts"
import type { Probe, ProbeResult } from "../policy/wire/lifeline.ts"
import { writeForNow } from "../runtime/durable-file.ts"
import { BottleError } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"
import { currentOwner } from "../runtime/process-owner.ts"
import { authorityOf, type BottleAuthority } from "./authority.ts"
import { type HeadKeeper, headKeeper } from "./ledger-heads.ts"
import { type Prepared, plainEnv } from "./prepare.ts"
import { wallProbes } from "./probes.ts"
import type { StartScope } from "./scope.ts"
import type { Secrets } from "./secrets.ts"

export interface Started {
  state: HeldState
  end: Promise<SessionEnd>
  /** Ends the user's part in the session; the agent runs on */
  leave(): void
}

export interface StartContext {
  home: string
  env: HostEnv
  scope: StartScope
}

/** Starts a prepared bottle. Throws after everything that was begun has been registered for undoing. */
export async function startBottle(
  prepared: Prepared,
  secrets: Secrets,
  context: StartContext,
): Promise<Started> {
  const { scope } = context
  // What the host notes of the bottle and what the backend looks up do not wait for each other.
  const begun = begin(prepared, context)
  begun.catch(() => {})
  const asked = Promise.withResolvers<Asked>()
  asked.promise.catch(() => {})
  const load = async (streams: ControlStreams) => {
    const { state, authority, keep } = await begun
    const way = new ControlClient(state.identity, streams, keep.onHead)
    scope.undo("the way to the gateway", () => way[Symbol.asyncDispose]())
    const loaded = way.load({
      ca: await authority,
      extra_ca: prepared.extraCa,
      tokens: secrets.tokens,
      policy: prepared.compiled.policy,
    })
    // All three are asked one behind the other without waiting: the answers come as soon as there can be any.
    const written = way.provision(filesOf(prepared))
    const tried = way.probe(probesOf(prepared))
    written.catch(() => {})
    tried.catch(() => {})
    asked.resolve({ control: way, written, tried })
    prepareForAnswers()
    await loaded
  }
  const sandbox = await prepared.backend.launch(sandboxPlan(prepared), scope, begun, load)
  const { state, metadata, keep } = await begun
  const { control: client, written, tried } = await asked.promise
  await using control: ControlClient = client
  // Written before the agent exists, so that its work is never taken for nothing.
  const noted = writeMetadata(state, { ...metadata, images: sandbox.images, phase: "running" })
  noted.catch(() => {})
  try {
    await scope.phase("wall", async () => judgeWall(await whileAlive(sandbox, scope.signal, tried)))
    await scope.phase("files", () => whileAlive(sandbox, scope.signal, written))
    await whileAlive(sandbox, scope.signal, sandbox.joined)
  } finally {
    // Whatever is taken back is not written at the same time.
    await Promise.allSettled([noted])
  }
  await noted
  const remembered = keep.settled()
  remembered.catch(() => {})
  // A ledger that was cut short while the bottle was kept is found out before anything goes on in it.
  if (prepared.spec.resume !== undefined) await remembered
  await scope.phase("agent", () =>
    whileAlive(
      sandbox,
      scope.signal,
      control.launch({
        ...programOf(prepared, sandbox, { ...plainEnv(prepared, context.env), ...secrets.agentEnv }),
        ...(prepared.provision.resume && prepared.spec.resume ? { resume: prepared.provision.resume } : {}),
        streams: streamsOf(prepared),
        cwd: WORKSPACE,
        setup: prepared.setup,
      }),
    ).catch((error) => {
      throw withAdvice(error, prepared)
    }),
  )
  await remembered
  scope.keep()
  return { state, end: sandbox.session, leave: sandbox.leave }
}

/** The agent's command and environment, with the program where this sandbox has it. */
function programOf(
  { provision }: Prepared,
  { program }: Sandbox,
  env: Record<string, string>,
): { argv: string[]; env: Record<string, string> } {
  if (program === undefined) return { argv: provision.argv, env }
  const path = [...program.pathFolders, env.PATH ?? ""].filter((folder) => folder !== "").join(":")
  return { argv: [program.path, ...provision.argv.slice(1)], env: { ...env, PATH: path } }
}

/** Where inner leads the agent's streams. */
function streamsOf({ backend, session }: Prepared): "inherit" | "terminal" | "pipes" {
  if (backend.streams === "backend") return "inherit"
  return session === "task" ? "pipes" : "terminal"
}

/** The way to init, and what was asked of it already. */
interface Asked {
  control: ControlClient
  written: Promise<unknown>
  tried: Promise<{ results: ProbeResult[] }>
}

/** What the host has of a bottle before anything else of it exists. */
interface Begun {
  state: HeldState
  /** Minted meanwhile: nothing of the backend's waits for it until the gateway is loaded */
  authority: Promise<BottleAuthority>
  metadata: Metadata
  keep: HeadKeeper
}

/** Makes or opens the state, with its undo. Its metadata is written before the backend creates anything. */
async function begin(prepared: Prepared, context: StartContext): Promise<Begun> {
  const { scope } = context
  const state = await scope.phase("state", () => acquireState(prepared, context))
  const noted = async () => {
    const before = await readMetadata(state)
    const metadata = await firstMetadata(prepared)
    await writeMetadata(state, metadata)
    if (before !== undefined) scope.undo("the state's metadata", () => writeMetadata(state, before))
    return metadata
  }
  const [metadata] = await Promise.all([
    noted(),
    // For people who look; the live policy travels by control message.
    writeForNow(state.policy, `${JSON.stringify(prepared.compiled.policy, null, 2)}\n`),
  ])
  // Behind what the backend does first: minting a key holds everything else up.
  const authority = new Promise((later) => setImmediate(later)).then(() => minted(state, scope))
  authority.catch(() => {})
  return { state, authority, metadata, keep: headKeeper(state) }
}

async function minted(state: HeldState, scope: StartScope): Promise<BottleAuthority> {
  const authority = await scope.phase("authority", () => authorityOf(state))
  const fingerprint = new X509Certificate(authority.cert).fingerprint256.replaceAll(":", "").toLowerCase()
  scope.progress(`CA sha256 ${fingerprint}`)
  return authority
}

/** A new folder, or the one of the bottle that is resumed; either is held by this process until it is let go. */
async function acquireState(prepared: Prepared, { home, scope }: StartContext): Promise<HeldState> {
  const { identity, spec } = prepared
  const resumed = spec.resume !== undefined
  const state = resumed ? await lockState(await openState(home, identity)) : await createState(home, identity)
  scope.undo("the lock", async () => state[Symbol.dispose]())
  if (!resumed) scope.undo("the state folder", () => removeState(state))
  return state
}

function sandboxPlan(prepared: Prepared): SandboxPlan {
  const { spec, provision, bottle } = prepared
  return {
    identity: prepared.identity,
    agent: prepared.agent.name,
    bottle: bottle.name,
    image: provision.image,
    dockerfile: bottle.provider.dockerfile,
    runtime: prepared.probe.runtime,
    program: provision.argv[0] ?? "",
    session: prepared.session,
    limits: bottle.limits,
    daemons: ["egress"],
    trees: provision.trees,
    ...(spec.cwd === undefined ? {} : { workspaceFrom: spec.cwd }),
    resume: spec.resume !== undefined,
    extraHosts: prepared.extraHosts,
  }
}

/** A program that is not in the sandbox is no fault of the start: inner's words are kept, and what to do is told. */
function withAdvice(error: unknown, { bottle, provision }: Prepared): unknown {
  const missing = `cannot start ${provision.argv[0]}:`
  if (bottle.provider.template !== "command" || !(error instanceof BottleError)) return error
  if (!error.why.includes(missing)) return error
  return new BottleError({
    what: error.what,
    why: error.why,
    next: `See that the sandbox has it: name its full path in agent_provider.command of ${bottle.file}, or install it with a Dockerfile of your own, named in agent_provider.dockerfile`,
    exitCode: error.exitCode,
    cause: error,
  })
}

/** A resumed bottle keeps its own version of what was only seeded. */
function filesOf({ provision, spec }: Prepared) {
  const files = provision.files.filter((file) => !(file.seed && spec.resume !== undefined))
  return files.map(({ path, mode, content }) => ({ path, mode, content }))
}

async function firstMetadata(prepared: Prepared): Promise<Metadata> {
  const { spec, bottle } = prepared
  return {
    version: 1,
    identity: prepared.identity,
    agent: prepared.agent.name,
    bottle: bottle.name,
    backend: prepared.backend.name,
    provider: { name: bottle.provider.template, version: prepared.provision.version },
    workspace: spec.cwd === undefined ? { mode: "empty" } : { mode: "copy", source: spec.cwd },
    images: { agent: "", gateway: "" },
    compose_project: prepared.backend.name === "docker" ? `bottle-${prepared.identity}` : "",
    started_at: new Date().toISOString(),
    ledger_head: EMPTY_HEAD,
    phase: "starting",
    owner: await currentOwner(),
    ...(bottle.terminal.allow.length === 0 ? {} : { terminal_allow: bottle.terminal.allow }),
  }
}

function probesOf({ compiled, hostAddresses, provision, backend, spec }: Prepared): Probe[] {
  const arrived = spec.resume === undefined || backend.copiesAgain ? provision.trees : []
  return wallProbes(compiled.policy.generation, hostAddresses, arrived)
}

function judgeWall({ results }: { results: ProbeResult[] }): void {
  const holes = results.filter((result) => !result.ok)
  if (holes.length === 0) return
  throw new BottleError({
    what: "The wall does not stand, so the agent was not started",
    why: holes.map((hole) => `${hole.name}: ${hole.detail}`).join("\n"),
    next: "This must not happen on a sound machine: see `bottle doctor`, and report it",
  })
}

/** A sandbox that ends before its agent started is told at once, and so is an interruption: neither waits for an answer. */
function whileAlive<T>(sandbox: Sandbox, signal: AbortSignal, answer: Promise<T>): Promise<T> {
  answer.catch(() => {})
  const ended = sandbox.session.then((end): Promise<T> => {
    if (end.kind === "detached") return answer
    if (end.code === 130)
      throw new BottleError({ what: "Interrupted: everything begun is taken back", exitCode: 130 })
    throw new BottleError({
      what: "The sandbox ended before its agent started",
      why: `its container left with status ${end.code}`,
      next: "If the image is your own (dockerfile, BOTTLE_IMAGE), see that it is a glibc Linux of this machine's kind",
    })
  })
  const interrupted = Promise.withResolvers<never>()
  const interrupt = () => interrupted.reject(signal.reason)
  if (signal.aborted) interrupt()
  else signal.addEventListener("abort", interrupt, { once: true })
  return Promise.race([answer, ended, interrupted.promise]).finally(() =>
    signal.removeEventListener("abort", interrupt),
  )
}
