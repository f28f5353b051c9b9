/** What every verb starts from: where things are, and the manifests there. */
import type { Manifests } from "../manifest/load.ts"
import { usageError } from "../runtime/error.ts"
import { bottleHome, callerCwd, type HostEnv, hostEnv } from "../runtime/home.ts"
import { openManifests } from "./manifests.ts"

export interface CliContext {
  home: string
  env: HostEnv
  cwd: string
  manifests(): Manifests
}

export function cliContext(): CliContext {
  const env = hostEnv()
  const home = bottleHome(env)
  const cwd = callerCwd()
  return { home, env, cwd, manifests: openManifests }
}

/** The value of `--format`: text for people, json for scripts. */
export function formatOf(value: string | undefined): "text" | "json" {
  if (value === undefined || value === "text") return "text"
  if (value === "json") return "json"
  throw usageError(`--format is "${value}"`, "Use --format text or --format json")
}

export const FORMAT_ARG = {
  type: "string",
  description: "text (default) or json",
  valueHint: "text|json",
} as const
