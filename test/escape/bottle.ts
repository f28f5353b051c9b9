/**
 * A real bottle whose agent is an attacker, and control sandboxes: the same image under the same Compose service with
 * one gate taken out of it. Commands run as children of the agent, with its environment, user and confinement.
 */
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { composeProject } from "../../src/backend/docker/compose.ts"
import { namesOf } from "../../src/backend/docker/names.ts"
import { lastLines, run } from "../../src/runtime/spawn.ts"
import { claudeRoute, type World } from "../docker/world.ts"
import { ATTACKER, type Ran, type Victim, victim } from "./attacks.ts"

export type { Outcome, Ran } from "./attacks.ts"

/** Time that one command inside may take, in seconds. */
const WITHIN_S = 60

/** A container as a place for the attacker. */
export interface Sandbox extends Victim, AsyncDisposable {
  /** Name of its container */
  container: string
}

export interface Bottle extends Sandbox {
  identity: string
  /** Name of the gateway's container */
  gateway: string
}

/** Frontmatter of a bottle with the attacker in the agent's place, and the stand-in API as its one host. */
export function attackerBottle(world: World, more = ""): string {
  const provider = `agent_provider: { template: claude, dockerfile: ${join(ATTACKER, "Dockerfile")} }`
  return `${more.includes("egress:") ? "" : claudeRoute(world.hostAddress)}\n${provider}\n${more}`
}

/** Starts a bottle detached. Its manifest is `attackerBottle` with `more` below it. */
export async function startBottle(world: World, more = ""): Promise<Bottle> {
  const name = `attack-${randomBytes(3).toString("hex")}`
  world.bottleFile(name, attackerBottle(world, more))
  world.agentFile(name, `bottle: ${name}`)
  const identity = await world.ok("start", name, "--yes", "--detach")
  const { agent, sidecars } = namesOf(identity)
  return {
    ...sandboxOf(agent),
    identity,
    gateway: sidecars,
    [Symbol.asyncDispose]: async () => {
      await world.bottle("stop", identity)
    },
  }
}

/** What Compose is told of the agent, as far as controls take gates out of it. */
export type AgentService = Record<string, unknown> & { volumes: (string | { read_only?: boolean })[] }

export interface ControlOptions {
  /** Network that the service may name as `outside` */
  network?: string
  limits?: { memory?: string; pids?: number }
  /** Volume of sockets in the place of an empty one */
  sockets?: string
}

/**
 * The agent's sandbox as the product describes it to Compose, but for what `edit` changes, and with the attacker as
 * its process instead of inner: a gate that is taken out here is the only one that is missing.
 */
export async function startControl(
  bottle: Bottle,
  edit: (service: AgentService) => void,
  options: ControlOptions = {},
): Promise<Sandbox> {
  const image = (await docker("inspect", "--format", "{{.Config.Image}}", bottle.container)).trim()
  const identity = `control-${randomBytes(3).toString("hex")}`
  const whole = composeProject(
    {
      identity,
      agent: "control",
      bottle: "control",
      image: "claude",
      program: "claude",
      dockerfile: "",
      runtime: "",
      session: "task",
      limits: options.limits ?? {},
      daemons: [],
      trees: [],
      resume: false,
      extraHosts: {},
    },
    { home: "control", startedAt: new Date().toISOString(), images: { agent: image, gateway: image } },
  )
  const agent = { ...whole.services.agent, entrypoint: ["/usr/local/bin/claude"] } as unknown as AgentService
  edit(agent)
  const { ledger: _, ...own } = whole.volumes
  const volumes = options.sockets ? { ...own, sock: { name: options.sockets, external: true } } : own
  const networks = options.network ? { outside: { name: options.network, external: true } } : {}
  const project = { ...whole, services: { agent }, volumes, networks }
  const compose = ["docker", "compose", "--progress", "quiet", "-f", "-"]
  const input = JSON.stringify(project)
  const remove = async () => {
    await run([...compose, "down", "--volumes", "--timeout", "0"], { input })
  }
  const up = await run([...compose, "up", "--detach"], { input })
  if (up.code !== 0) {
    await remove()
    throw new Error(`the control did not start: ${lastLines(up.stderr)}`)
  }
  return { ...sandboxOf(namesOf(identity).agent), [Symbol.asyncDispose]: remove }
}

/** Runs docker; answers with its stdout. */
export async function docker(...args: string[]): Promise<string> {
  const result = await run(["docker", ...args])
  if (result.code !== 0) throw new Error(`docker ${args.join(" ")}: ${lastLines(result.stderr, 5)}`)
  return result.stdout
}

function sandboxOf(container: string): Omit<Sandbox, typeof Symbol.asyncDispose> {
  const inside = victim(async (argv, { stdin = "", withinS = WITHIN_S } = {}) => {
    const input = `${JSON.stringify({ argv, stdin, within: withinS })}\n`
    const asked = await run(["docker", "exec", "-i", container, "ask"], { input })
    if (asked.code !== 0) throw new Error(`the attacker did not answer: ${lastLines(asked.stderr, 5)}`)
    return JSON.parse(asked.stdout) as Ran
  })
  return { container, ...inside }
}
