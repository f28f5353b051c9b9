/** What the engine says of itself. */

import { lastLines, type RunRequest, run } from "../../runtime/spawn.ts"
import { Engine } from "./engine.ts"

/** The part of the engine's answer that is looked at */
export interface DockerInfo {
  ServerVersion?: string
  ServerErrors?: string[]
  MemoryLimit?: boolean
  PidsLimit?: boolean
  CpuCfsQuota?: boolean
  /** Folder of images and volumes, on the engine's machine */
  DockerRootDir?: string
  /** RFC 3339 time of the engine's machine */
  SystemTime?: string
  /** `name=rootless`, `name=seccomp,profile=builtin` ... */
  SecurityOptions?: string[]
  /** Registered runtimes by name */
  Runtimes?: Record<string, unknown>
}

/** The docker command asks each of its plugins before it answers, so the engine itself is asked where it can be. */
export async function engineInfo(
  request: RunRequest & { timeoutMs: number },
): Promise<DockerInfo | { fault: string }> {
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

function parseInfo(text: string): DockerInfo {
  try {
    return JSON.parse(text) as DockerInfo
  } catch {
    return {}
  }
}

/** Limits that a manifest can set and this engine does not enforce. */
export function missingLimits(engine: DockerInfo): string[] {
  return [
    engine.MemoryLimit === false ? "memory" : "",
    engine.PidsLimit === false ? "pids" : "",
    engine.CpuCfsQuota === false ? "cpus" : "",
  ].filter((name) => name !== "")
}
