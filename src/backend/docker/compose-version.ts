/** The version of Docker's Compose plugin. Asking it costs more than a tenth of a start. */
import { hostEnv } from "../../runtime/home.ts"
import { remembered } from "../../runtime/remembered.ts"
import { type RunRequest, run } from "../../runtime/spawn.ts"
import { composePlugin } from "./compose-plugin.ts"

/** First one that has everything a project of ours uses (`volume.nocopy`, labels on `down`, JSON files) */
export const COMPOSE_MIN = "2.20"

/** Whether a version as the plugin says it is COMPOSE_MIN or newer. */
export function isComposeNew(version: string): boolean {
  const [major, minor] = COMPOSE_MIN.split(".").map(Number)
  const [, a, b] = /^(\d+)\.(\d+)/.exec(version) ?? []
  return Number(a) > major! || (Number(a) === major && Number(b) >= minor!)
}

/**
 * The version as the plugin says it, `2.26.1`; undefined when there is no plugin, or it does not answer. A plugin in one
 * of the usual places is asked once.
 */
export async function composeVersion(request: RunRequest): Promise<string | undefined> {
  const plugin = composePlugin()
  if (plugin === undefined) return ask(request)
  const isWhole = ({ version }: { version?: string }) => typeof version === "string"
  const said = await remembered<{ version: string }>(plugin, "compose", hostEnv(), isWhole, async () => {
    const version = await ask(request)
    return version === undefined ? undefined : { version }
  })
  return said?.version
}

async function ask(request: RunRequest): Promise<string | undefined> {
  const asked = await run(["docker", "compose", "version", "--short"], request)
  return asked.code === 0 ? asked.stdout.trim().replace(/^v/, "") : undefined
}
