/** From a name to a plan: loads, checks and decides everything that can be known before anything is started. */
import type { Backend, BackendProbe, Session } from "../backend/types.ts"
import { contractEnv } from "../bottle/contract.ts"
import { mintIdentity } from "../bottle/identity.ts"
import { findSkills } from "../bottle/skills.ts"
import { type CompiledPolicy, compilePolicy } from "../gateway/policy.ts"
import type { Manifests } from "../manifest/load.ts"
import { unserved } from "../manifest/served.ts"
import type { Agent, Bottle } from "../manifest/types.ts"
import { AGENT_HOME, CA_BUNDLE, WORKSPACE } from "../policy/paths.ts"
import type { SetupCommand } from "../policy/wire/lifeline.ts"
import { providerNamed } from "../provider/registry.ts"
import type { Provider, ProvisionPlan } from "../provider/types.ts"
import { BottleError, usageError } from "../runtime/error.ts"
import { type HostEnv, userHome } from "../runtime/home.ts"
import { type Choice, chooseBackend } from "./choose-backend.ts"
import { largeCopy } from "./copy-size.ts"
import {
  checkProxyReach,
  extraCaCerts,
  extraHosts,
  type HostProxy,
  hostAddresses,
  hostProxy,
} from "./host-facts.ts"

/** What the user asked for. */
export interface StartSpec {
  agent: string
  /** Backend named by flag */
  backend?: string
  /** Absolute host folder to copy into the workspace */
  cwd?: string
  /** One-shot task */
  task?: string
  detach: boolean
  /** True when the person has a terminal to give to the agent */
  terminal: boolean
  /** What the plan is for: a session, to be shown alone, or the policy of a bottle that runs already */
  purpose: "start" | "dry-run" | "reload"
  remoteControl: boolean
  /** Arguments after `--` */
  args: string[]
  /** Identity to resume; absent starts a new bottle */
  resume?: string
}

/** Everything decided; no secret, no trace on disk. */
export interface Prepared {
  spec: StartSpec
  identity: string
  agent: Agent
  bottle: Bottle
  backend: Backend
  probe: BackendProbe
  /** Why this backend, and what is to be known of that, for the preflight */
  choice: Pick<Choice, "chosenBy" | "passedOver" | "notes">
  provision: ProvisionPlan
  compiled: CompiledPolicy
  session: Session["mode"]
  /** Set-up commands in the sandbox, the provider's and ours */
  setup: SetupCommand[]
  hostProxy?: HostProxy
  hostAddresses: string[]
  extraHosts: Record<string, string>
  /** PEM, possibly empty */
  extraCa: string
  /** Files and folders of the host that come into the sandbox with the agent's program, absolute */
  brought: string[]
  /** How large the folder is that is copied, for people; empty when it is small */
  copySize: string
  /** Images that replace the built ones, by role */
  imageOverrides: Record<string, string>
}

export interface PrepareContext {
  home: string
  env: HostEnv
  manifests: Manifests
}

/** Throws a BottleError for the first thing that would make the start fail. */
export async function prepare(spec: StartSpec, context: PrepareContext): Promise<Prepared> {
  const { home, env, manifests } = context
  const agent = manifests.agent(spec.agent)
  const bottle = manifests.bottle(agent.bottle)
  const notYet = unserved(bottle)
  if (notYet !== undefined) throw notYet
  const provider = providerNamed(bottle.provider.template)
  if (spec.purpose !== "reload") provider.checkTask?.(spec.task, bottle.provider.command)
  const session = sessionOf(spec, provider)
  // Asked while the rest is read; what is wrong with the manifests is told first.
  const chosen = chooseBackend({ spec, agent, bottle, home, env })
  chosen.then(
    ({ backend }) => {
      if (spec.purpose === "start") backend.warm?.()
    },
    () => {},
  )
  const copySize = spec.cwd === undefined ? "" : largeCopy(spec.cwd)
  const identity = spec.resume ?? mintIdentity(agent.name)
  const skills = findSkills(agent.skills, userHome(env))
  const ownRoute = bottle.routes.find((route) => route.auth !== undefined && route.host === provider.apiHost)
  const provision = provider.plan({
    prompt: agent.prompt,
    ...(spec.task === undefined ? {} : { task: spec.task }),
    skills,
    remoteControl: spec.remoteControl,
    args: spec.args,
    resume: spec.resume !== undefined,
    sandbox: { workspace: WORKSPACE, home: AGENT_HOME, caBundle: CA_BUNDLE },
    command: bottle.provider.command,
    placeholderSeed: identity,
    ...(ownRoute?.auth ? { auth: { scheme: ownRoute.auth.scheme } } : {}),
  })
  const proxy = hostProxy(env)
  const addresses = hostAddresses()
  const compiled = compilePolicy({
    identity,
    routes: bottle.routes,
    provider: { name: provider.name, routes: provision.routes },
    placeholders: provision.placeholders,
    hostAddresses: addresses,
    ...(proxy ? { upstreamProxy: proxy } : {}),
  })
  checkVariables(compiled, bottle, env)
  const { backend, probe, ...choice } = await chosen
  if (proxy !== undefined) checkProxyReach(proxy, backend.gatewayNetwork)
  if (backend.programs === "host") refuseImages(backend, bottle, env)
  const brought = backend.checkProgram?.(provision.argv[0] ?? "") ?? []
  return {
    spec,
    identity,
    agent,
    bottle,
    backend,
    probe,
    choice,
    provision,
    compiled,
    session,
    setup: [...provision.setup, ...gitSetup(agent, bottle)],
    ...(proxy ? { hostProxy: proxy } : {}),
    hostAddresses: addresses,
    extraHosts: extraHosts(env),
    extraCa: extraCaCerts(env),
    brought,
    copySize: await copySize,
    imageOverrides: {
      ...(env.BOTTLE_IMAGE ? { agent: env.BOTTLE_IMAGE } : {}),
      ...(env.BOTTLE_SIDECAR_IMAGE ? { gateway: env.BOTTLE_SIDECAR_IMAGE } : {}),
    },
  }
}

/** An image that was asked for says what is inside: something else must not run in its place. */
function refuseImages({ name }: Backend, bottle: Bottle, env: HostEnv): void {
  const variable = ["BOTTLE_IMAGE", "BOTTLE_SIDECAR_IMAGE"].find((one) => env[one])
  const { dockerfile } = bottle.provider
  if (variable === undefined && dockerfile === "") return
  const mend =
    dockerfile === ""
      ? `Run \`unset ${variable}\``
      : `Take agent_provider.dockerfile out of ${bottle.file}, and install what it adds on this machine`
  throw new BottleError({
    what: `${name} runs no images`,
    why:
      dockerfile === ""
        ? `${variable} names one, and ${name} runs the programs of this machine`
        : `the bottle ${bottle.name} has a Dockerfile, and ${name} runs the programs of this machine`,
    next: `${mend}; or use --backend docker`,
  })
}

/** The agent's environment but for the values of the manifest, which are resolved after the user has said yes. */
export function plainEnv(prepared: Prepared, env: HostEnv): Record<string, string> {
  const { bottle, provision, session } = prepared
  const terminal = { term: env.TERM ?? "", colorTerm: env.COLORTERM ?? "" }
  return {
    ...contractEnv({
      gitGate: bottle.git.repos.length > 0,
      supervise: bottle.supervise,
      ...(session === "task"
        ? {}
        : { terminal: terminal.term === "" ? { ...terminal, term: "xterm-256color" } : terminal }),
    }),
    ...provision.env,
  }
}

/** A session is told to be impossible before anything else is looked at. */
function sessionOf(spec: StartSpec, provider: Provider): Session["mode"] {
  if (spec.task !== undefined) return "task"
  if (spec.detach) return "detached"
  if (spec.terminal) return "terminal"
  if (!provider.needsTerminal) return "task"
  if (spec.purpose === "dry-run") return "terminal"
  throw usageError("An interactive agent needs a terminal", "Give it a task with --prompt, or use --detach")
}

/** An unset variable is told before the user is asked anything; values are read later. */
function checkVariables(compiled: CompiledPolicy, bottle: Bottle, env: HostEnv): void {
  for (const route of compiled.policy.routes) {
    const source = route.auth ? compiled.credentials[route.auth.credential] : undefined
    if (source?.kind !== "env" || env[source.variable]) continue
    throw new BottleError({
      what: `${source.variable} is not set`,
      why: `the route for ${route.host} takes its credential from it (${route.origin}, bottle ${bottle.name})`,
      next: `Run \`export ${source.variable}=...\`, or name another source under auth.token in ${bottle.file}`,
    })
  }
}

/** The agent's user wins over the bottle's, name and mail address each for itself. */
function gitSetup(agent: Agent, bottle: Bottle): SetupCommand[] {
  const user = { ...bottle.git.user, ...agent.gitUser }
  return (["name", "email"] as const).flatMap((field) => {
    const value = user[field]
    if (value === undefined) return []
    const config = ["git", "config", "--global"]
    return {
      name: `git user ${field}`,
      argv: [...config, `user.${field}`, value],
      check: { argv: [...config, "--get", `user.${field}`], expect: value },
    }
  })
}
