/**
 * `bottle start` on a warm machine, to the agent's process running, against a bare `docker compose up` of two
 * containers of the same images, networks and volumes. Ending them is not measured.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { homeDigest, networkOf } from "../../../src/backend/docker/names.ts"
import { AGENT_HOME, LEDGER_DIR, SOCKET_DIR, WORKSPACE } from "../../../src/policy/paths.ts"
import { lastLines, run } from "../../../src/runtime/spawn.ts"
import { createWorld, PROJECT, type World } from "../../docker/world.ts"
import { alternate, type BenchResult, type Figures, median } from "../harness.ts"

const BINARY = join(PROJECT, "dist", "bottle")
const ROUNDS = 7
/** Most that a start may cost, as a multiple of the bare project */
const RATIO_MAX = 1.5

export async function benchDocker(): Promise<BenchResult> {
  if (!existsSync(BINARY)) throw new Error("build the binary first: bun scripts/build.ts")
  await using world = await createWorld()
  const images = await warm(world)
  const phases: Record<string, number[]> = {}
  const times = await alternate(
    { bottle: () => startBottle(world, phases), bare: () => upBare(world, images) },
    ROUNDS,
  )
  const bottle = median(times.bottle)
  const bare = median(times.bare)
  const figures: Figures = { bottle_ms: bottle, bare_ms: bare, ratio: bottle / bare }
  for (const [name, values] of Object.entries(phases)) figures[`phase_${name}_ms`] = median(values)
  return { bench: "start", figures, targets: { ratio: { max: RATIO_MAX } } }
}

interface Images {
  agent: string
  gateway: string
}

/** Builds the images and makes the outside network, so that neither is measured. */
async function warm(world: World): Promise<Images> {
  const identity = (await must([BINARY, "start", "worker", "--yes", "--detach"], world)).stdout.trim()
  const image = async (role: string) =>
    (
      await must(["docker", "inspect", "--format", "{{.Config.Image}}", `bottle-${identity}-${role}`], world)
    ).stdout.trim()
  const images = { agent: await image("agent"), gateway: await image("sidecars") }
  await must([BINARY, "stop", identity], world)
  return images
}

async function startBottle(world: World, phases: Record<string, number[]>): Promise<number> {
  const from = performance.now()
  const { stdout, stderr } = await must([BINARY, "start", "worker", "--yes", "--detach", "--profile"], world)
  const took = performance.now() - from
  for (const [, name = "", ms = "0"] of stderr.matchAll(/^ *\d+ ms (\w+) +(\d+) ms$/gm)) {
    phases[name] = [...(phases[name] ?? []), Number(ms)]
  }
  await must([BINARY, "stop", stdout.trim()], world)
  return took
}

async function upBare(world: World, images: Images): Promise<number> {
  const project = JSON.stringify(bareProject(world, images))
  const compose = ["docker", "compose", "-f", "-"]
  const from = performance.now()
  await must([...compose, "up", "--detach", "--no-build"], world, project)
  const took = performance.now() - from
  await must([...compose, "down", "--volumes", "--timeout", "0"], world, project)
  return took
}

/** Nothing but what two such containers need: no hardening, no limits, no files, no labels. */
function bareProject(world: World, images: Images) {
  const idle = { entrypoint: ["sleep", "600"], pull_policy: "never" }
  return {
    name: "bottle-bench-bare",
    services: {
      agent: {
        ...idle,
        image: images.agent,
        network_mode: "none",
        volumes: [`home:${AGENT_HOME}`, `workspace:${WORKSPACE}`, `sock:${SOCKET_DIR}:ro`],
      },
      sidecars: {
        ...idle,
        image: images.gateway,
        entrypoint: ["/opt/bottle/bun", "-e", "setTimeout(() => {}, 600000)"],
        networks: ["outside"],
        volumes: [`sock:${SOCKET_DIR}`, `ledger:${LEDGER_DIR}`],
      },
    },
    volumes: {
      home: {},
      workspace: {},
      ledger: {},
      sock: { driver_opts: { type: "tmpfs", device: "tmpfs" } },
    },
    networks: { outside: { name: networkOf(homeDigest(world.home)), external: true } },
  }
}

async function must(argv: string[], world: World, input?: string) {
  const result = await run(argv, {
    cwd: world.cwd,
    env: world.env,
    ...(input === undefined ? {} : { input }),
  })
  if (result.code !== 0) throw new Error(`${argv.slice(0, 4).join(" ")}: ${lastLines(result.stderr, 6)}`)
  return result
}
