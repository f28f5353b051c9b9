/** Calls of the docker command whose failure is an error: bounded in time, with docker's own words. */
import { BottleError } from "../../runtime/error.ts"
import { lastLines, type RunRequest, run } from "../../runtime/spawn.ts"
import { composePlugin } from "./compose-plugin.ts"

/** Time of an ordinary call: a busy daemon answers within seconds, a hung one never. In milliseconds. */
const WITHIN_MS = 60_000

/** Runs docker and hands back its stdout. Throws a BottleError that says `doing` and quotes docker's stderr. */
export function docker(doing: string, args: readonly string[], request: RunRequest = {}): Promise<string> {
  return runTool(doing, ["docker", ...args], request)
}

/** Runs Compose: its plugin itself where it is known, which spares the docker command in front of it 40 ms. */
export function compose(doing: string, args: readonly string[], request: RunRequest = {}): Promise<string> {
  const plugin = composePlugin()
  return runTool(doing, [...(plugin === undefined ? ["docker", "compose"] : [plugin]), ...args], request)
}

async function runTool(doing: string, argv: readonly string[], request: RunRequest): Promise<string> {
  const result = await run(argv, { timeoutMs: WITHIN_MS, ...request })
  if (result.code === 0) return result.stdout
  const why = lastLines(result.stderr || result.stdout, 8)
  throw new BottleError({ what: `Could not ${doing}`, why, next: adviceFor(why) })
}

/** Like `docker`, but a failure is the empty string: for questions whose "no" comes as a failure. */
export async function askDocker(args: readonly string[], request: RunRequest = {}): Promise<string> {
  const result = await run(["docker", ...args], { timeoutMs: WITHIN_MS, ...request })
  return result.code === 0 ? result.stdout : ""
}

function adviceFor(why: string): string {
  if (/no space left|disk quota/i.test(why))
    return "Free disk space (`docker system df` shows Docker's own), then try again"
  if (/cannot connect|is the docker daemon running|connection refused/i.test(why)) {
    return "Start Docker, and see that `docker version` answers"
  }
  if (/external volume .* not found/i.test(why)) {
    return "Its work is no longer in Docker: something else removed the volume, and there is nothing to resume"
  }
  if (/permission denied/i.test(why)) return "See that you may use Docker: `docker version` must answer"
  if (/already in use|is already used/i.test(why)) return "Run `bottle cleanup`, then try again"
  return "Run `docker info` to see that Docker is well, then try again"
}
