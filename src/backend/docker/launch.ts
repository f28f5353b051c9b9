/** Brings one bottle up: create, copy in, start both containers side by side, hand init's socket to the caller. */
import type { ControlStreams } from "../../gateway/control-client.ts"
import { ensureImages } from "../../image/ensure.ts"
import { showable } from "../../policy/denial.ts"
import { BottleError } from "../../runtime/error.ts"
import { hostEnv } from "../../runtime/home.ts"
import { lastLines, run, type SignalsOfItsOwn, spawnInherit, spawnStreaming } from "../../runtime/spawn.ts"
import type { LaunchScope, Sandbox, SandboxPlan, Session, SessionEnd } from "../types.ts"
import { composeProject, PROXY_VARIABLES } from "./compose.ts"
import { askDocker, compose, docker } from "./docker.ts"
import { Engine } from "./engine.ts"
import { LABEL_HOME, namesOf, networkOf } from "./names.ts"
import { copyTrees, copyWorkspace } from "./provision.ts"
import { removeBottle } from "./remove.ts"

/** Time that an interrupted creation has to come to its end, in milliseconds: it takes a fraction of a second. */
const CREATE_GRACE_MS = 10_000

/** Keys that leave the agent's terminal without ending it. */
const DETACH_KEYS = "ctrl-\\,d"

/** A question about a container is answered within this, in milliseconds. */
const ASKED_WITHIN_MS = 60_000

/** Lines of a failed gateway's log that a message quotes. */
const WORDS_MAX = 5

/** The current folder may be anyone's: its `.env` would name the project and fill the containers' environment. */
const COMPOSE = ["--progress", "quiet", "--env-file", "/dev/null"]

export async function launchBottle(
  plan: SandboxPlan,
  home: string,
  scope: LaunchScope,
  begun: Promise<unknown>,
  load: (streams: ControlStreams) => Promise<void>,
): Promise<Sandbox> {
  const { signal } = scope
  const names = namesOf(plan.identity)
  const engine = Engine.here()
  const images = await lookUp(plan, home, engine, scope, begun)
  const project = composeProject(plan, { home, startedAt: new Date().toISOString(), images })
  scope.undo("containers and volumes", () => removeBottle(plan.identity, { keepWork: plan.resume }))
  await scope.phase("create", () =>
    compose(
      "create the bottle's containers",
      [...COMPOSE, "--project-name", names.project, "-f", "-", "create", "--no-build"],
      {
        input: JSON.stringify(project),
        env: composeEnv(),
        signal: afterGrace(signal),
        timeoutMs: 120_000,
      },
    ),
  )
  const copies = scope.phase("copies", async () => {
    if (plan.trees.length > 0) await copyTrees(names.agent, plan.trees, signal)
    if (plan.workspaceFrom !== undefined) await copyWorkspace(names.agent, plan.workspaceFrom, signal)
  })
  const gateway = scope.phase("gateway", async () => {
    // A loaded gateway waits two minutes for its sandbox, and a large folder takes longer to copy.
    const whenCopied = async (streams: ControlStreams) => {
      if (plan.workspaceFrom !== undefined) await copies
      await load(streams)
    }
    try {
      await startGateway(plan.identity, engine, whenCopied, signal)
    } catch (error) {
      throw signal.aborted ? error : await withItsWords(error, names.sidecars)
    }
  })
  // The sandbox waits for its gateway by itself, so both come up at once.
  const user = new AbortController()
  const session = copies.then(() => startAgent(names.agent, plan.session, engine, signal, user.signal))
  const sandbox: Sandbox = {
    images,
    // Its container keeps what nobody has read yet.
    joined: Promise.resolve(),
    session: endOf(names.agent, session),
    leave: () => user.abort(),
  }
  // Whoever waits for the gateway learns of a failed sandbox too, and neither is left without a listener.
  sandbox.session.catch(() => {})
  await Promise.all([gateway, copies])
  return sandbox
}

/**
 * Aborts some seconds after the signal: what Docker has begun to create when its client is ended comes to be all the
 * same, after everything was looked for and removed. So the client is given the time to see it through.
 */
function afterGrace(signal: AbortSignal): AbortSignal {
  const late = new AbortController()
  signal.addEventListener(
    "abort",
    () => setTimeout(() => late.abort(signal.reason), CREATE_GRACE_MS).unref(),
    {
      once: true,
    },
  )
  return late.signal
}

/**
 * Compose fills variables without a value from its own environment, and ours are to have none; what the user set for
 * projects of their own (COMPOSE_PROFILES, COMPOSE_FILE) is not about ours.
 */
function composeEnv(): Record<string, string | undefined> {
  const env = hostEnv()
  const away = [...PROXY_VARIABLES, ...Object.keys(env).filter((name) => name.startsWith("COMPOSE_"))]
  return { ...env, ...Object.fromEntries(away.map((name) => [name, undefined])) }
}

/** Finds the images, and builds those that are missing. */
async function imagesOf(
  plan: SandboxPlan,
  engine: Engine | undefined,
  scope: LaunchScope,
  signal: AbortSignal,
): Promise<Sandbox["images"]> {
  const found = await ensureImages(
    { template: plan.image, dockerfile: plan.dockerfile, env: hostEnv() },
    {
      docker: ["docker"],
      progress: (line) => scope.progress(line),
      signal,
      ...(engine ? { find: (reference) => engine.image(reference, signal) } : {}),
    },
  )
  return { agent: found.agent.reference, gateway: found.gateway.reference }
}

/**
 * Finds images and network, or makes them, while the host notes the bottle. A bottle that cannot be noted ends a build
 * that has begun.
 */
async function lookUp(
  plan: SandboxPlan,
  home: string,
  engine: Engine | undefined,
  scope: LaunchScope,
  begun: Promise<unknown>,
): Promise<Sandbox["images"]> {
  const failed = new AbortController()
  const signal = AbortSignal.any([scope.signal, failed.signal])
  const found = Promise.all([
    scope.phase("images", () => imagesOf(plan, engine, scope, signal)),
    scope.phase("network", () => ensureNetwork(home, engine, signal)),
  ])
  found.catch(() => {})
  try {
    await begun
  } catch (error) {
    failed.abort(error)
    await found.catch(() => {})
    throw error
  }
  const [images] = await found
  return images
}

/** With an engine at hand init's own stdin is the way to it; otherwise a program in the gateway is. */
async function startGateway(
  identity: string,
  engine: Engine | undefined,
  load: (streams: ControlStreams) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { sidecars } = namesOf(identity)
  if (engine === undefined) {
    await docker("start the gateway", ["start", sidecars], { signal })
    return load(controlOf(identity))
  }
  // What is written before init reads waits in its stdin, so neither has to come first.
  const attached = engine.attach(sidecars)
  attached.catch(() => {})
  try {
    await engine.start(sidecars, "start the gateway", signal)
  } catch (error) {
    await attached.then(
      (streams) => streams[Symbol.asyncDispose](),
      () => {},
    )
    throw error
  }
  const streams = await attached
  return load(streams)
}

/** A gateway that failed has said why in its own log, which is removed with it. */
async function withItsWords(error: unknown, sidecars: string): Promise<unknown> {
  if (!(error instanceof BottleError)) return error
  const logs = await run(["docker", "logs", "--tail", String(WORDS_MAX), sidecars], {
    timeoutMs: ASKED_WITHIN_MS,
  }).catch(() => undefined)
  // Its log is its stderr: its stdout has what it answers to us.
  const words = lastLines(logs?.stderr ?? "", WORDS_MAX).split("\n")
  const shown = words.filter((line) => line !== "").map((line) => showable(line, 300))
  const { what, why, next, exitCode } = error
  return new BottleError({ what, why: [why, ...shown].join("\n"), next, exitCode, cause: error })
}

/** Joins the terminal of a running agent. Throws a BottleError when it has none: docker would leave its user no key to go. */
export async function attachBottle(identity: string, leave: AbortSignal): Promise<SessionEnd> {
  const { agent } = namesOf(identity)
  const format = "{{.Config.Tty}}"
  const tty = await docker("look at the agent", ["inspect", "--type", "container", "--format", format, agent])
  if (tty.trim() !== "true") {
    throw new BottleError({
      what: `Could not join ${identity}`,
      why: "its agent does one task, without a terminal",
      next: `See what it did: bottle log ${identity}`,
    })
  }
  return endOf(agent, withUser(["docker", "attach", "--detach-keys", DETACH_KEYS, agent], leave))
}

/** The user's part in a session, with docker's own exit status; that it was left is no failure of it. */
async function withUser(argv: string[], leave: AbortSignal, signals: SignalsOfItsOwn = {}): Promise<number> {
  try {
    return await spawnInherit(argv, { signal: leave, ...signals })
  } catch (error) {
    if (!leave.aborted) throw error
    return 0
  }
}

/** A way to init: a small program in the gateway that joins our pipes to the control socket. */
export function controlOf(identity: string): ControlStreams {
  const { sidecars } = namesOf(identity)
  const inside = ["/opt/bottle/bun", "--no-env-file", "/opt/bottle/gateway.js", "control"]
  // Ctrl-C is for us: docker would leave, and what runs over this way could not be told of it.
  const child = spawnStreaming(["docker", "exec", "-i", sidecars, ...inside], { ownSession: true })
  let complaint = ""
  child.stderr.on("data", (chunk: Buffer) => {
    complaint = lastLines(complaint + chunk.toString(), 4)
  })
  return {
    input: child.stdin,
    output: child.stdout,
    complaint: () => complaint,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}

/** Starts the agent's container; resolves when the user's part in it is over, for `detached` at once. */
async function startAgent(
  container: string,
  mode: Session["mode"],
  engine: Engine | undefined,
  signal: AbortSignal,
  leave: AbortSignal,
): Promise<number | "started"> {
  if (mode === "detached") {
    if (engine !== undefined) await engine.start(container, "start the sandbox", signal)
    else await docker("start the sandbox", ["start", container], { signal })
    return "started"
  }
  const attach =
    mode === "terminal" ? ["--attach", "--interactive", "--detach-keys", DETACH_KEYS] : ["--attach"]
  // Without a terminal docker passes on every signal that it gets, and so do we: Ctrl-C would count twice, and what ends
  // docker when its user leaves would end the agent too.
  const signals: SignalsOfItsOwn = mode === "task" ? { ownSession: true, endBy: "SIGKILL" } : {}
  return withUser(["docker", "start", ...attach, container], leave, signals)
}

/**
 * docker's own exit status does not tell a detach from an end, so the container is asked. When it is gone, somebody
 * else who saw the end has settled the bottle, and what docker left with is the agent's status.
 */
async function endOf(container: string, session: Promise<number | "started">): Promise<SessionEnd> {
  const left = await session
  if (left === "started") return { kind: "detached" }
  const format = "{{.State.Running}} {{.State.ExitCode}}"
  const asked = await run(["docker", "inspect", "--format", format, container], {
    timeoutMs: ASKED_WITHIN_MS,
  })
  const [running, code] = asked.stdout.trim().split(" ")
  if (running === "true") return { kind: "detached" }
  if (code !== undefined) return { kind: "exited", code: Number(code) }
  if (/no such (object|container)/i.test(asked.stderr)) return { kind: "exited", code: left }
  throw new BottleError({
    what: "Docker does not say how the agent ended",
    why: lastLines(asked.stderr, 4),
    next: "Start Docker, and run `bottle cleanup`: it keeps what there is to keep",
  })
}

/** One network for all gateways of a home: Docker has room for about 30 networks, and gateways need no company. */
async function ensureNetwork(home: string, engine: Engine | undefined, signal: AbortSignal): Promise<void> {
  const name = networkOf(home)
  if ((await engine?.call("GET", `/networks/${name}`, signal))?.status === 200) return
  if ((await askDocker(["network", "inspect", "--format", "{{.Name}}", name], { signal })) !== "") return
  const options = ["--driver", "bridge", "--opt", "com.docker.network.bridge.enable_icc=false"]
  try {
    await docker(
      "create the gateways' network",
      ["network", "create", ...options, "--label", `${LABEL_HOME}=${home}`, name],
      {
        signal,
      },
    )
  } catch (error) {
    // Another start made it in the meantime.
    if ((await askDocker(["network", "inspect", name], { signal })) === "") throw error
  }
}
