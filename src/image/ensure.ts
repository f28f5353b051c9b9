/** Makes sure that the two images of a bottle are there: found by content, built when they are not. */
import { readFile } from "node:fs/promises"
import { isAbsolute } from "node:path"
import { type AgentImage, imageContext } from "../runtime/assets.ts"
import { BottleError, reasonOf } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"
import { lastLines, run } from "../runtime/spawn.ts"
import { buildImage } from "./build.ts"
import { folderHash } from "./folder-hash.ts"
import { type AgentBase, type ImagePlan, INNER_LABEL, planImages, readsContext } from "./plan.ts"

/** Milliseconds that the Docker daemon may take to say which images it has */
const INSPECT_TIMEOUT_MS = 30_000

export interface ImageRequest {
  /** The provider's image */
  template: AgentImage
  /** The bottle's own Dockerfile, absolute; absent or empty is the provider's image */
  dockerfile?: string
  /** Where BOTTLE_IMAGE, BOTTLE_SIDECAR_IMAGE, BOTTLE_BASE_* and BOTTLE_EXTRA_CA_CERTS are read */
  env: HostEnv
}

export interface ImageTools {
  /** argv prefix of the docker client */
  docker: readonly string[]
  /** Called with one short line per build step */
  progress: (line: string) => void
  signal?: AbortSignal
  /** A quicker way than the docker client to look one image up */
  find?: (reference: string) => Promise<FoundImage | undefined>
}

export interface ImageRef {
  /** Name to run the image by */
  reference: string
  /** Content id, `sha256:...` */
  id: string
}

export interface BottleImages {
  agent: ImageRef
  gateway: ImageRef
}

/** What is known before anything is built: for the preflight and for `ensureImages`. */
export interface ImageSurvey {
  plan: ImagePlan
  /** Images that are there already, by reference */
  present: Map<string, FoundImage>
}

export interface FoundImage {
  id: string
  labels: Record<string, string>
}

/** Finds out which images a bottle needs and which of them are there. Builds nothing. */
export async function surveyImages(
  request: ImageRequest,
  tools: Pick<ImageTools, "docker" | "signal" | "find">,
): Promise<ImageSurvey> {
  const { env } = request
  const own = [env.BOTTLE_IMAGE, env.BOTTLE_SIDECAR_IMAGE].filter((name) => name !== undefined && name !== "")
  const [given, files, inner, gateway] = await Promise.all([
    own.length === 0 ? new Map<string, FoundImage>() : inspectImages(own as string[], env, tools),
    imageContext(request.template),
    imageContext("inner"),
    imageContext("gateway"),
  ])
  const plan = planImages({
    agent: await agentBase(request, given),
    gatewayImage: ownImage("BOTTLE_SIDECAR_IMAGE", env, given),
    template: { name: request.template, files },
    inner,
    gateway,
    bases: basesFrom(env),
  })
  const wanted = [plan.agent, plan.gateway].filter((reference) => !given.has(reference))
  const found = wanted.length === 0 ? new Map<string, FoundImage>() : await inspectImages(wanted, env, tools)
  return { plan, present: new Map([...given, ...found]) }
}

/**
 * Hands back both images, building what is not there; agent and gateway build at once. Throws a BottleError with the
 * build's own words when a build fails, and when an image that the user named is not there.
 */
export async function ensureImages(request: ImageRequest, tools: ImageTools): Promise<BottleImages> {
  const { plan, present } = await surveyImages(request, tools)
  const missing = [plan.agent, plan.gateway].filter((reference) => !present.has(reference))
  if (missing.length > 0) {
    await buildMissing(plan, present, request.env, tools)
    for (const [reference, found] of await inspectImages(missing, request.env, tools)) {
      present.set(reference, found)
    }
  }
  return { agent: refOf(plan.agent, present), gateway: refOf(plan.gateway, present) }
}

async function buildMissing(
  plan: ImagePlan,
  present: ReadonlyMap<string, FoundImage>,
  env: HostEnv,
  tools: ImageTools,
): Promise<void> {
  const extraCa = await extraCaFile(env)
  // One failed build ends the other: its message would come after the one that counts.
  const failed = new AbortController()
  const signal = tools.signal === undefined ? failed.signal : AbortSignal.any([tools.signal, failed.signal])
  const chain = async (builds: ImagePlan["agentBuilds"], last: string) => {
    if (present.has(last)) return
    const tags = builds.slice(0, -1).map((build) => build.tag)
    const there = tags.length === 0 ? new Map() : await inspectImages(tags, env, { ...tools, signal })
    for (const build of builds) {
      if (!there.has(build.tag)) await buildImage(build, { ...tools, env, extraCa, signal })
    }
  }
  const chains = [chain(plan.agentBuilds, plan.agent), chain(plan.gatewayBuilds, plan.gateway)]
  let first: unknown
  for (const building of chains) {
    building.catch((error) => {
      first ??= error
      failed.abort()
    })
  }
  await Promise.allSettled(chains)
  if (first !== undefined) throw first
}

/** Looks images up, by one call where all are there; those that are not there are not in the answer. */
async function inspectImages(
  references: readonly string[],
  env: HostEnv,
  tools: Pick<ImageTools, "docker" | "signal" | "find">,
): Promise<Map<string, FoundImage>> {
  const { find } = tools
  if (find !== undefined) {
    const found = await Promise.all(references.map(async (name) => [name, await find(name)] as const))
    return new Map(found.flatMap(([name, image]) => (image === undefined ? [] : [[name, image] as const])))
  }
  const format = "{{.Id}} {{json .Config.Labels}}"
  const { code, stdout, stderr } = await run(
    [...tools.docker, "image", "inspect", "--format", format, ...references],
    {
      env: { ...env },
      timeoutMs: INSPECT_TIMEOUT_MS,
      ...(tools.signal === undefined ? {} : { signal: tools.signal }),
    },
  )
  const lines = stdout.split("\n").filter((line) => line !== "")
  if (code === 0 && lines.length === references.length) {
    return new Map(references.map((name, i) => [name, foundImage(lines[i]!)]))
  }
  if (!/no such (image|object)|not found/i.test(stderr)) {
    throw new BottleError({
      what: "Docker does not say which images it has",
      why: lastLines(stderr),
      next: "See that the Docker daemon runs and that you may use it: docker version",
    })
  }
  // Which line belongs to which name is only sure for one at a time.
  if (references.length === 1) return new Map()
  const single = await Promise.all(references.map((name) => inspectImages([name], env, tools)))
  return new Map(single.flatMap((found) => [...found]))
}

function foundImage(line: string): FoundImage {
  const space = line.indexOf(" ")
  return { id: line.slice(0, space), labels: JSON.parse(line.slice(space + 1)) ?? {} }
}

async function agentBase(request: ImageRequest, given: ReadonlyMap<string, FoundImage>): Promise<AgentBase> {
  const reference = ownImage("BOTTLE_IMAGE", request.env, given)
  if (reference !== undefined) {
    const { id, labels } = given.get(reference)!
    return { kind: "image", reference, id, inner: labels[INNER_LABEL] }
  }
  const path = request.dockerfile ?? ""
  if (path === "") return { kind: "template" }
  if (!isAbsolute(path)) {
    throw new BottleError({
      what: `the Dockerfile's path is not absolute: ${path}`,
      next: "Write it in full in the bottle's `agent_provider.dockerfile`",
    })
  }
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    throw new BottleError({
      what: `cannot read the Dockerfile ${path}`,
      why: reasonOf(error),
      next: "Correct `agent_provider.dockerfile` in the bottle, or create the file",
      cause: error,
    })
  }
  return { kind: "dockerfile", path, text, folderHash: readsContext(text) ? await folderHash(path) : "" }
}

function ownImage(
  variable: "BOTTLE_IMAGE" | "BOTTLE_SIDECAR_IMAGE",
  env: HostEnv,
  given: ReadonlyMap<string, FoundImage>,
): string | undefined {
  const reference = env[variable]
  if (reference === undefined || reference === "") return undefined
  if (!given.has(reference)) {
    throw new BottleError({
      what: `there is no image ${reference}, which ${variable} names`,
      why: "an image that you name is never fetched or built by bottle",
      next: `Run \`docker pull ${reference}\` or build it, or unset ${variable}`,
    })
  }
  return reference
}

function basesFrom(env: HostEnv): Record<string, string> {
  const bases: Record<string, string> = {}
  if (env.BOTTLE_BASE_NODE) bases.BASE_NODE = env.BOTTLE_BASE_NODE
  if (env.BOTTLE_BASE_DEBIAN) bases.BASE_DEBIAN = env.BOTTLE_BASE_DEBIAN
  return bases
}

async function extraCaFile(env: HostEnv): Promise<string | undefined> {
  const path = env.BOTTLE_EXTRA_CA_CERTS
  if (path === undefined || path === "") return undefined
  let text = ""
  let why = "it holds no certificate in PEM form"
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    why = reasonOf(error)
  }
  if (!text.includes("-----BEGIN CERTIFICATE-----")) {
    throw new BottleError({
      what: `cannot use ${path}, which BOTTLE_EXTRA_CA_CERTS names`,
      why,
      next: "Name a PEM file with the roots to add, or unset BOTTLE_EXTRA_CA_CERTS",
    })
  }
  return path
}

function refOf(reference: string, present: ReadonlyMap<string, FoundImage>): ImageRef {
  const found = present.get(reference)
  if (found === undefined) {
    throw new BottleError({
      what: `the image ${reference} was built, and is not there`,
      why: "the builder did not hand it to the Docker daemon, or something removed it at once",
      next: "Check `docker buildx ls` and `docker images`, then try again",
    })
  }
  return { reference, id: found.id }
}
