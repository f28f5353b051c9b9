/** From what decides an image's content to its tag: pure, so that a plan can be shown without building anything. */
import { createHash } from "node:crypto"
import type { AgentImage } from "../runtime/assets.ts"

/** Label of every image of ours: hash of all that decides its content, 64 hex digits */
export const CONTENT_LABEL = "io.bottle.content"
/** Label of every image of ours: `claude`, `command`, `custom`, `agent` or `gateway` */
export const ROLE_LABEL = "io.bottle.role"
/** Label of an image that has the inner layer: hash of that layer, 12 hex digits */
export const INNER_LABEL = "io.bottle.inner"

/** Text of each file by its path inside a build context */
export type ContextFiles = Record<string, string>

/** What the sandbox is built on. */
export type AgentBase =
  /** The provider's own image */
  | { kind: "template" }
  /** The user's Dockerfile: absolute path, its text, hash of the folder it may copy from */
  | { kind: "dockerfile"; path: string; text: string; folderHash: string }
  /** An image that the user built: name, id, and the hash of the inner layer it has already */
  | { kind: "image"; reference: string; id: string; inner: string | undefined }

export interface ImageInputs {
  agent: AgentBase
  /** Image in place of our gateway */
  gatewayImage: string | undefined
  /** The provider's own image: its name and what it is built from */
  template: { name: AgentImage; files: ContextFiles }
  inner: ContextFiles
  gateway: ContextFiles
  /** Build arguments that replace the base images, by name: BASE_NODE, BASE_DEBIAN */
  bases: Record<string, string>
}

export interface PlannedBuild {
  /** Name in progress lines: `claude`, `command`, `agent`, `gateway`, or the user's Dockerfile */
  title: string
  tag: string
  labels: Record<string, string>
  args: Record<string, string>
  /** Path of the Dockerfile, inside the context or absolute */
  dockerfile: string
  /** Files sent as context, or the absolute folder to use */
  context: { files: ContextFiles } | { folder: string }
  /** Name to give to an image before the build: BuildKit takes an id for a name of the public registry */
  tagFirst?: { id: string; tag: string }
}

export interface ImagePlan {
  /** Name or id of the image that the sandbox runs, there already or built by the last of `agentBuilds` */
  agent: string
  /** Builds that lead to it, each on top of the one before; none when the image is the user's and complete */
  agentBuilds: PlannedBuild[]
  gateway: string
  gatewayBuilds: PlannedBuild[]
}

export function planImages(inputs: ImageInputs): ImagePlan {
  const agent = planAgent(inputs)
  if (inputs.gatewayImage !== undefined) {
    return { ...agent, gateway: inputs.gatewayImage, gatewayBuilds: [] }
  }
  const args = argsFor(inputs.gateway["gateway/Dockerfile"], inputs.bases)
  const hash = contentHash({ files: inputs.gateway, args })
  const build: PlannedBuild = {
    title: "gateway",
    tag: `bottle-gateway:${short(hash)}`,
    labels: { [CONTENT_LABEL]: hash, [ROLE_LABEL]: "gateway" },
    args,
    dockerfile: "gateway/Dockerfile",
    context: { files: inputs.gateway },
  }
  return { ...agent, gateway: build.tag, gatewayBuilds: [build] }
}

function planAgent(inputs: ImageInputs): Pick<ImagePlan, "agent" | "agentBuilds"> {
  const innerArgs = argsFor(inputs.inner["inner/Dockerfile"], inputs.bases)
  const innerHash = contentHash({ files: inputs.inner, args: innerArgs })
  const builds: PlannedBuild[] = []
  let base: string
  let tagFirst: PlannedBuild["tagFirst"]
  let baseContent: string
  if (inputs.agent.kind === "image") {
    if (inputs.agent.inner === short(innerHash)) return { agent: inputs.agent.reference, agentBuilds: [] }
    // The layer goes on the very image that was looked at, whatever its name points to by then.
    baseContent = inputs.agent.id
    base = `bottle-base:${short(baseContent.replace(/^sha256:/, ""))}`
    tagFirst = { id: inputs.agent.id, tag: base }
  } else {
    const template = planTemplate(inputs)
    const last =
      inputs.agent.kind === "template" ? template : planCustom(inputs.agent, template, inputs.bases)
    if (inputs.agent.kind === "template" || last.args.BOTTLE_AGENT !== undefined) builds.push(template)
    if (last !== template) builds.push(last)
    base = last.tag
    baseContent = last.labels[CONTENT_LABEL]!
  }
  const hash = contentHash({ base: baseContent, inner: innerHash })
  builds.push({
    title: "agent",
    tag: `bottle-agent:${short(hash)}`,
    labels: { [CONTENT_LABEL]: hash, [ROLE_LABEL]: "agent" },
    args: { ...innerArgs, BASE: base, INNER_HASH: short(innerHash) },
    dockerfile: "inner/Dockerfile",
    context: { files: inputs.inner },
    ...(tagFirst === undefined ? {} : { tagFirst }),
  })
  return { agent: builds.at(-1)!.tag, agentBuilds: builds }
}

function planTemplate({ template: { name, files }, bases }: ImageInputs): PlannedBuild {
  const dockerfile = `${name}/Dockerfile`
  const args = argsFor(files[dockerfile], bases)
  const hash = contentHash({ files, args })
  return {
    title: name,
    tag: `bottle-${name}:${short(hash)}`,
    labels: { [CONTENT_LABEL]: hash, [ROLE_LABEL]: name },
    args,
    dockerfile,
    context: { files },
  }
}

/** A user's Dockerfile may build on ours: `ARG BOTTLE_AGENT` and `FROM ${BOTTLE_AGENT}`. */
function planCustom(
  custom: Extract<AgentBase, { kind: "dockerfile" }>,
  template: PlannedBuild,
  bases: Record<string, string>,
): PlannedBuild {
  const args = argsFor(custom.text, { ...bases, BOTTLE_AGENT: template.tag })
  const hash = contentHash({ text: custom.text, folder: custom.folderHash, args })
  return {
    title: custom.path,
    tag: `bottle-custom:${short(hash)}`,
    labels: { [CONTENT_LABEL]: hash, [ROLE_LABEL]: "custom" },
    args,
    dockerfile: custom.path,
    context: { folder: custom.path.slice(0, custom.path.lastIndexOf("/")) || "/" },
  }
}

/** The arguments that a Dockerfile declares: others would only make a warning, and change the hash for nothing. */
function argsFor(dockerfile: string | undefined, args: Record<string, string>): Record<string, string> {
  const declared = [...(dockerfile ?? "").matchAll(/^\s*ARG\s+([A-Za-z_][A-Za-z0-9_]*)/gim)].map((m) => m[1])
  return Object.fromEntries(Object.entries(args).filter(([name]) => declared.includes(name)))
}

/** True when a Dockerfile reads its context, so that the folder's content decides the image's. */
export function readsContext(dockerfile: string): boolean {
  const joined = dockerfile.replace(/\\\r?\n/g, " ")
  return joined.split(/\r?\n/).some((line) => {
    if (/^\s*(ONBUILD\s+)?(COPY|ADD)\s/i.test(line)) return !/\s--from=/i.test(line)
    return /--mount=\S*type=bind/.test(line) || /^\s*(ONBUILD\s+)?RUN\s.*--mount=(?!\S*type=)/i.test(line)
  })
}

/** Hash of a JSON value, independent of the order of its keys. */
export function contentHash(value: unknown): string {
  const sorted = JSON.stringify(value, (_key, item) =>
    item !== null && typeof item === "object" && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  )
  return createHash("sha256").update(sorted).digest("hex")
}

function short(hash: string): string {
  return hash.slice(0, 12)
}
