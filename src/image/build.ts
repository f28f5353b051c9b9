/** Builds one planned image with BuildKit, its context streamed, its steps told as short lines. */

import { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { pack } from "tar-stream"
import { BottleError } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"
import { readLines } from "../runtime/lines.ts"
import { lastLines, run, spawnStreaming } from "../runtime/spawn.ts"
import type { ContextFiles, PlannedBuild } from "./plan.ts"

/** Bytes of one line of a build's output; a build that prints longer ones is cut off */
const MAX_LINE = 1024 * 1024
/** Lines of a build's output kept for the message of a failed one */
const KEPT_LINES = 400
/** Characters of a step in a progress line */
const STEP_WIDTH = 96
/** Lines of a build's output that a failure shows */
const SHOWN_LINES = 20

export interface BuildTools {
  /** argv prefix of the docker client */
  docker: readonly string[]
  /** Environment of the docker client */
  env: HostEnv
  /** PEM file of extra roots for downloads during the build, absolute */
  extraCa: string | undefined
  /** Called with one short line per step */
  progress: (line: string) => void
  signal?: AbortSignal | undefined
}

/** Builds the image and tags it; throws a BottleError with the end of the build's own output. */
export async function buildImage(build: PlannedBuild, tools: BuildTools): Promise<void> {
  const argv = await buildArgv(build, tools)
  if (build.tagFirst !== undefined) await tagImage(build.tagFirst, tools)
  tools.progress(`${build.title}: building ${build.tag}`)
  await using docker = spawnStreaming(argv, {
    env: { ...tools.env },
    ...(tools.signal === undefined ? {} : { signal: tools.signal }),
  })
  const input = "files" in build.context ? await tarOf(build.context.files) : Buffer.alloc(0)
  docker.stdin.end(input)
  docker.stdout.resume()
  const output: string[] = []
  const told = new Set<string>()
  for await (const line of readLines(docker.stderr, MAX_LINE)) {
    output.push(line)
    if (output.length > KEPT_LINES) output.shift()
    const step = stepOf(line)
    // BuildKit names a step again whenever its output goes back to it.
    if (step === undefined || told.has(step)) continue
    told.add(step)
    tools.progress(`${build.title}: ${step}`)
  }
  const code = await docker.exited
  if (tools.signal?.aborted)
    throw new BottleError({ what: "interrupted while an image was built", exitCode: 130 })
  if (code !== 0) throw buildError(build, output, tools)
}

async function buildArgv(build: PlannedBuild, tools: BuildTools): Promise<string[]> {
  const argv = [...tools.docker, "buildx", "build", "--progress=plain", "--load", "--pull=false"]
  // The current builder may be a container of its own, which does not see local images; the builder with the
  // name of the docker context is the daemon's.
  argv.push("--builder", await contextName(tools))
  argv.push("--tag", build.tag, "--file", build.dockerfile)
  for (const [name, value] of Object.entries(build.labels)) argv.push("--label", `${name}=${value}`)
  for (const [name, value] of Object.entries(build.args)) argv.push("--build-arg", `${name}=${value}`)
  // Without a value the client takes it from its environment: a proxy's address may hold a password.
  for (const name of proxyVariables(tools.env)) argv.push("--build-arg", name)
  if (tools.extraCa !== undefined) argv.push("--secret", `id=extra_ca,src=${tools.extraCa}`)
  argv.push("folder" in build.context ? build.context.folder : "-")
  return argv
}

async function tagImage({ id, tag }: { id: string; tag: string }, tools: BuildTools): Promise<void> {
  const { code, stderr } = await run([...tools.docker, "image", "tag", id, tag], { env: { ...tools.env } })
  if (code === 0) return
  throw new BottleError({
    what: `the image ${id} could not be named ${tag}`,
    why: lastLines(stderr),
    next: "See that the image is still there: docker images",
  })
}

async function contextName(tools: BuildTools): Promise<string> {
  const shown = await run([...tools.docker, "context", "show"], { env: { ...tools.env }, timeoutMs: 10_000 })
  return (shown.code === 0 && shown.stdout.trim()) || "default"
}

/** Names of proxy variables that a build can use: a proxy on this machine's loopback is out of its reach. */
export function proxyVariables(env: HostEnv): string[] {
  const names = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].filter((name) => {
    const value = env[name]
    return (
      value !== undefined && value !== "" && !/^(\w+:\/\/)?([^@/]*@)?(localhost|127\.|\[?::1)/i.test(value)
    )
  })
  if (names.length === 0) return []
  return [...names, ...["NO_PROXY", "no_proxy"].filter((name) => env[name])]
}

/** A context as tar: times are fixed, so that the same files are the same context. */
export async function tarOf(files: ContextFiles): Promise<Buffer> {
  const tar = pack()
  for (const path of Object.keys(files).sort()) tar.entry({ name: path, mtime: new Date(0) }, files[path]!)
  tar.finalize()
  return buffer(Readable.from(tar))
}

/**
 * The step that a line of BuildKit's plain progress starts, where it may take a while: `[bun 3/4] RUN npm ci`.
 * Undefined for any other line.
 */
export function stepOf(line: string): string | undefined {
  const match = /^#\d+ (\[[^\]]*\d+\/\d+\] (?:RUN|FROM|ADD) .+)$/.exec(line)
  if (match === null) return undefined
  const step = match[1]!.replace(/--mount=\S+\s+/g, "").replace(/\s+/g, " ")
  return step.length > STEP_WIDTH ? `${step.slice(0, STEP_WIDTH - 3)}...` : step
}

function buildError(build: PlannedBuild, output: readonly string[], tools: BuildTools): BottleError {
  const text = output.join("\n")
  // What images/inner/prepare.sh says about a base that it cannot use is meant for the person.
  const reason = /^#\d+ [\d.]+ bottle: (.+)$/m.exec(text)?.[1]
  if (reason !== undefined) {
    return new BottleError({
      what: "the image for the sandbox could not be built",
      why: reason,
      next: "Change the base in `agent_provider.dockerfile` or BOTTLE_IMAGE, then try again",
    })
  }
  return new BottleError({
    what: `the ${build.title} image could not be built`,
    why: output
      .filter((line) => line.trim() !== "")
      .slice(-SHOWN_LINES)
      .join("\n"),
    next: nextStep(text, build, tools),
  })
}

function nextStep(text: string, build: PlannedBuild, tools: BuildTools): string {
  if (/buildx.*(not a docker command|is missing)|unknown (command|flag|shorthand)|--progress/i.test(text)) {
    return "Install Docker's buildx plugin (Debian: docker-buildx), which builds the images"
  }
  if (/no space left on device/i.test(text)) {
    return "Free space where Docker keeps its images (`docker system df` shows what takes it), then try again"
  }
  if (/certificate|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|x509/i.test(text)) {
    return tools.extraCa === undefined
      ? "If a proxy inspects TLS on this network, name its roots (PEM) in BOTTLE_EXTRA_CA_CERTS"
      : "Check that BOTTLE_EXTRA_CA_CERTS holds the roots (PEM) of the proxy that inspects TLS on this network"
  }
  if (
    /failed to resolve|failed to do request|no such host|pull access denied|EAI_AGAIN|ETIMEDOUT|i\/o timeout/i.test(
      text,
    )
  ) {
    return "Check the network; where base images come from a mirror, name them in BOTTLE_BASE_NODE and BOTTLE_BASE_DEBIAN"
  }
  if ("folder" in build.context) return `Mend ${build.dockerfile}, then try again`
  return "See the build's output above; `docker system df` and the network are the usual causes"
}
