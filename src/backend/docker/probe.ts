/** What this machine's Docker is and can do, found by asking it. */
import { reasonOf } from "../../runtime/error.ts"
import { hostEnv } from "../../runtime/home.ts"
import { programOnPath } from "../../runtime/machine.ts"
import type { BackendProbe } from "../types.ts"
import { COMPOSE_MIN, composeVersion, isComposeNew } from "./compose-version.ts"
import { engineInfo, missingLimits } from "./info.ts"

/** A Docker that does not answer within this is not there, in milliseconds. */
const WITHIN_MS = 5000

const NOTHING: Omit<BackendProbe, "reason" | "next"> = { available: false, found: "", runtime: "", notes: [] }

const NO_COMMAND = "cannot run `docker`: it is not installed, or not on PATH"

export async function probeDocker(signal?: AbortSignal): Promise<BackendProbe> {
  const request = { timeoutMs: WITHIN_MS, ...(signal ? { signal } : {}) }
  try {
    // Engine and plugin can be there without it, and the terminal is joined by it.
    if (programOnPath("docker", hostEnv()) === undefined)
      return { ...NOTHING, reason: NO_COMMAND, next: "Install Docker, or put its folder on PATH" }
    const [engine, version] = await Promise.all([engineInfo(request), composeVersion(request)])
    if ("fault" in engine) {
      return { ...NOTHING, reason: engine.fault, next: "Start Docker, and see that `docker version` answers" }
    }
    if (version === undefined || !isComposeNew(version)) {
      const have = version === undefined ? "Docker has no Compose plugin" : `Compose ${version} is too old`
      const next = `Install Docker Compose ${COMPOSE_MIN} or newer (package docker-compose-plugin or docker-compose)`
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

function limitNotes(engine: Parameters<typeof missingLimits>[0]): string[] {
  const missing = missingLimits(engine)
  return missing.length === 0 ? [] : [`limits not enforced by this machine's Docker: ${missing.join(", ")}`]
}
