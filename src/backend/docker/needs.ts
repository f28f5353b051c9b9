/** What docker needs of this machine, each question asked at once and bounded in time. */
import { accessSync, constants } from "node:fs"
import { reasonOf } from "../../runtime/error.ts"
import { freeBytes, type Machine, programOnPath, systemText, thisMachine } from "../../runtime/machine.ts"
import { type RunRequest, run } from "../../runtime/spawn.ts"
import { met, unmet, worse } from "../need.ts"
import { asRoot, distribution, installCommand } from "../packages.ts"
import type { Need } from "../types.ts"
import { dockerPlugin } from "./compose-plugin.ts"
import { COMPOSE_MIN, composeVersion, isComposeNew } from "./compose-version.ts"
import { localSocket } from "./engine.ts"
import { type DockerInfo, engineInfo, missingLimits } from "./info.ts"

/** What does not answer within this is told as such, in milliseconds. */
const WITHIN_MS = 1000
/** Room for the two images and their build, and the least that both fit into, in bytes */
const DISK_GOOD = 6 * 1024 ** 3
const DISK_MIN = 2 * 1024 ** 3
/** Certificates of a bottle are minted here and are valid from a minute before, in milliseconds */
const CLOCK_APART = 60_000

/** Where Docker's own repository is set up, packages have its names; Debian has a Compose that is new enough since 13. */
const PACKAGES = {
  engine: {
    debian: "docker.io docker-cli docker-compose docker-buildx",
    ubuntu: "docker.io docker-compose-v2 docker-buildx",
    fedora: "moby-engine docker-cli docker-compose docker-buildx",
    pacman: "docker docker-compose docker-buildx",
    apk: "docker docker-cli-compose docker-cli-buildx",
    zypper: "docker docker-compose docker-buildx",
    brew: "--cask docker-desktop",
  },
  compose: {
    debian: "docker-compose",
    ubuntu: "docker-compose-v2",
    dnf: "docker-compose",
    pacman: "docker-compose",
    apk: "docker-cli-compose",
    zypper: "docker-compose",
    brew: "docker-compose",
  },
  buildx: { apk: "docker-cli-buildx", dnf: "docker-buildx", apt: "docker-buildx", pacman: "docker-buildx" },
}
/** The same from Docker's own repository, and the files by which its set-up is known */
const FROM_DOCKER = {
  engine: "docker-ce docker-ce-cli docker-compose-plugin docker-buildx-plugin",
  compose: "docker-compose-plugin",
  buildx: "docker-buildx-plugin",
}
const DOCKERS_REPOSITORY = [
  "/etc/apt/sources.list.d/docker.list",
  "/etc/apt/sources.list.d/docker.sources",
  "/etc/yum.repos.d/docker-ce.repo",
]

/** Never throws. */
export async function dockerNeeds(signal?: AbortSignal, machine: Machine = thisMachine()): Promise<Need[]> {
  const path = programOnPath("docker", machine.env)
  // What is asked of it further on is missing with it, and is installed with it.
  if (path === undefined) {
    return [unmet("docker command", "not installed, or not on PATH", install(machine, "engine"))]
  }
  const request = { timeoutMs: WITHIN_MS, killGraceMs: 0, ...(signal === undefined ? {} : { signal }) }
  const [engine, compose, buildx] = await Promise.all([
    engineNeeds(machine, request),
    composeNeed(machine, request),
    buildxNeed(machine, request),
  ])
  const [answers, ...more] = engine
  return [met("docker command", path), ...answers!, compose, buildx, ...more.flat()]
}

/** Whether it answers; and what follows from what it says. */
async function engineNeeds(machine: Machine, request: RunRequest & { timeoutMs: number }): Promise<Need[][]> {
  const name = "engine"
  try {
    const socket = localSocket(machine.env)
    const refused = socket === undefined ? undefined : refusal(socket)
    if (refused !== undefined) {
      const found = `${socket} is not yours to use (${refused})`
      return [[unmet(name, found, `${asRoot(machine, "usermod -aG docker $USER")} && newgrp docker`)]]
    }
    const info = await engineInfo(request)
    if ("fault" in info) return [[unmet(name, info.fault, startCommand(machine))]]
    const where = socket ?? machine.env.DOCKER_HOST ?? "another machine"
    return [
      [met(name, `${info.ServerVersion}, ${where}`)],
      [limitsNeed(info)],
      diskNeeds(info, socket !== undefined),
      clockNeeds(info),
      kindNeeds(info),
    ]
  } catch (error) {
    return [[unmet(name, reasonOf(error), startCommand(machine))]]
  }
}

/** Why this user may not write to the socket; undefined when they may. */
function refusal(socket: string): string | undefined {
  try {
    accessSync(socket, constants.R_OK | constants.W_OK)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? reasonOf(error)
  }
}

function startCommand(machine: Machine): string {
  if (machine.env.DOCKER_HOST || machine.env.DOCKER_CONTEXT) return "unset DOCKER_HOST DOCKER_CONTEXT"
  if (machine.platform === "darwin") return "open -a Docker"
  if (systemText(machine, "/proc/1/comm") === "systemd")
    return asRoot(machine, "systemctl enable --now docker")
  if (distribution(machine).manager === "apk") return asRoot(machine, "rc-service docker start")
  return asRoot(machine, "service docker start")
}

async function composeNeed(machine: Machine, request: RunRequest): Promise<Need> {
  const name = "Compose"
  const mend = install(machine, "compose")
  try {
    const version = await composeVersion(request)
    if (version === undefined) return unmet(name, "Docker has no Compose plugin", mend)
    if (!isComposeNew(version)) return unmet(name, `${version}: ${COMPOSE_MIN} or newer is needed`, mend)
    return met(name, version)
  } catch (error) {
    return unmet(name, reasonOf(error), mend)
  }
}

/** It builds the images, before the first start and after each change of them. */
async function buildxNeed(machine: Machine, request: RunRequest): Promise<Need> {
  const name = "buildx"
  const mend = install(machine, "buildx")
  const plugin = dockerPlugin("docker-buildx")
  // The docker command asks each of its plugins before it runs one.
  const argv = plugin === undefined ? ["docker", "buildx", "version"] : [plugin, "version"]
  try {
    const asked = await run(argv, request)
    const version = /\sv?(\d+\.\d+\.\d+)/.exec(asked.stdout)?.[1]
    if (asked.code === 0 && version !== undefined) return met(name, version)
    return unmet(name, "Docker has no buildx plugin, which builds the images", mend)
  } catch (error) {
    return unmet(name, reasonOf(error), mend)
  }
}

function limitsNeed(info: DockerInfo): Need {
  const missing = missingLimits(info)
  return missing.length === 0
    ? met("limits", "memory, pids, cpus")
    : worse("limits", `not enforced by this machine's kernel: ${missing.join(", ")}`)
}

/** Only of an engine on this machine; where its folder is in another one, as on macOS, nothing is known. */
function diskNeeds({ DockerRootDir: folder }: DockerInfo, local: boolean): Need[] {
  const free = local && folder !== undefined ? freeBytes(folder) : undefined
  if (free === undefined) return []
  const found = `${(free / 1024 ** 3).toFixed(1)} GiB free for images in ${folder}`
  const mend = "docker builder prune && docker image prune"
  if (free < DISK_MIN) return [unmet("disk", found, mend)]
  return [free < DISK_GOOD ? worse("disk", found, mend) : met("disk", found)]
}

/** Virtual machines lose time while a laptop sleeps, and certificates of the last minutes are then not valid yet. */
function clockNeeds({ SystemTime: time }: DockerInfo): Need[] {
  const apart = Math.abs(Date.parse(time ?? "") - Date.now())
  if (!(apart > CLOCK_APART)) return []
  const found = `the engine's is ${Math.round(apart / 1000)} s apart from this machine's: restart Docker`
  return [worse("clock", found)]
}

function kindNeeds({ SecurityOptions: options = [], Runtimes: runtimes = {} }: DockerInfo): Need[] {
  const rootless = options.some((option) => option.startsWith("name=rootless"))
  return [
    ...(rootless ? [worse("rootless", "this engine runs without root, which has not been tried")] : []),
    "runsc" in runtimes
      ? met("gVisor", "registered; not used yet")
      : worse("gVisor", "not registered; not used yet, the agent shares the host's kernel"),
  ]
}

function install(machine: Machine, part: keyof typeof PACKAGES): string {
  const own = DOCKERS_REPOSITORY.some((path) => systemText(machine, path) !== undefined)
  return installCommand(machine, own ? FROM_DOCKER[part] : PACKAGES[part])
}
