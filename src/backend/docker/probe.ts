/** What this machine's Docker is and can do, found by asking it. */
import { join } from "node:path"
import { reasonOf } from "../../runtime/error.ts"
import { hostEnv } from "../../runtime/home.ts"
import { lastLines, run } from "../../runtime/spawn.ts"
import type { BackendProbe } from "../types.ts"
import { isProgram } from "./compose-plugin.ts"
import { composeVersion } from "./compose-version.ts"
import { Engine } from "./engine.ts"

/** A Docker that does not answer within this is not there, in milliseconds. */
const WITHIN_MS = 5000
/** First Compose that has everything a project of ours uses (`volume.nocopy`, labels on `down`, JSON files). */
const COMPOSE_MIN: readonly [number, number] = [2, 20]

interface DockerInfo {
  ServerVersion?: string
  ServerErrors?: string[]
  MemoryLimit?: boolean
  PidsLimit?: boolean
  CpuCfsQuota?: boolean
}

const NOTHING: Omit<BackendProbe, "reason" | "next"> = { available: false, found: "", runtime: "", notes: [] }

const NO_COMMAND = "cannot run `docker`: it is not installed, or not on PATH"

export async function probeDocker(signal?: AbortSignal): Promise<BackendProbe> {
  const request = { timeoutMs: WITHIN_MS, ...(signal ? { signal } : {}) }
  try {
    // Engine and plugin can be there without it, and the terminal is joined by it.
    if (!isOnPath("docker"))
      return { ...NOTHING, reason: NO_COMMAND, next: "Install Docker, or put its folder on PATH" }
    const [engine, version] = await Promise.all([engineInfo(request), composeVersion(request)])
    if ("fault" in engine) {
      return { ...NOTHING, reason: engine.fault, next: "Start Docker, and see that `docker version` answers" }
    }
    if (version === undefined || !atLeast(version, COMPOSE_MIN)) {
      const have = version === undefined ? "Docker has no Compose plugin" : `Compose ${version} is too old`
      const next = `Install Docker Compose ${COMPOSE_MIN.join(".")} or newer (package docker-compose-plugin or docker-compose)`
      return { ...NOTHING, reason: have, next }
    }
    return {
      available: true,
      reason: "",
      next: "",
      found: `Docker ${engine.ServerVersion}, Compose ${version}`,
      runtime: "",
      notes: limitNotes(engine),
    }
  } catch (error) {
    return {
      ...NOTHING,
      reason: reasonOf(error),
      next: "Install Docker, or see why `docker info` does not answer",
    }
  }
}

/** The docker command asks each of its plugins before it answers, so the engine itself is asked where it can be. */
async function engineInfo(request: {
  timeoutMs: number
  signal?: AbortSignal
}): Promise<DockerInfo | { fault: string }> {
  const engine = Engine.here()
  if (engine !== undefined) {
    const late = AbortSignal.timeout(request.timeoutMs)
    const until = request.signal === undefined ? late : AbortSignal.any([late, request.signal])
    const { status, body } = await engine.call("GET", "/info", until).catch((error) => {
      if (!late.aborted) throw error
      throw new Error(`Docker did not answer within ${request.timeoutMs / 1000} s`)
    })
    return status === 200 ? (body as DockerInfo) : { fault: `the engine answered ${status}` }
  }
  const info = await run(["docker", "info", "--format", "{{json .}}"], request)
  const parsed = parseInfo(info.stdout)
  const fault = parsed.ServerErrors?.[0] ?? (parsed.ServerVersion ? undefined : lastLines(info.stderr, 2))
  return info.code === 0 && fault === undefined ? parsed : { fault: fault || "docker info failed" }
}

function isOnPath(tool: string): boolean {
  return (hostEnv().PATH ?? "").split(":").some((folder) => folder !== "" && isProgram(join(folder, tool)))
}

function parseInfo(text: string): DockerInfo {
  try {
    return JSON.parse(text) as DockerInfo
  } catch {
    return {}
  }
}

function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [, a, b] = /^(\d+)\.(\d+)/.exec(version) ?? []
  return Number(a) > major || (Number(a) === major && Number(b) >= minor)
}

function limitNotes(engine: DockerInfo): string[] {
  const missing = [
    engine.MemoryLimit === false ? "memory" : "",
    engine.PidsLimit === false ? "pids" : "",
    engine.CpuCfsQuota === false ? "cpus" : "",
  ].filter((name) => name !== "")
  return missing.length === 0 ? [] : [`limits not enforced by this machine's Docker: ${missing.join(", ")}`]
}
