/** Removes what a bottle has in Docker, and finds what is left of bottles. */
import { setTimeout as delay } from "node:timers/promises"
import { BottleError } from "../../runtime/error.ts"
import { run } from "../../runtime/spawn.ts"
import type { Leftover } from "../types.ts"
import { askDocker, docker } from "./docker.ts"
import { LABEL_HOME, LABEL_IDENTITY, LABEL_ROLE, namesOf, networkOf } from "./names.ts"

/** Removing many containers takes its time on a busy machine, in milliseconds. */
const WITHIN_MS = 120_000
/**
 * Compose outlives a start that was killed, and what it was told to create comes to be after we removed what was there.
 * It is looked for again, in milliseconds.
 */
const LATE_WITHIN_MS = 5000
const LATE_EVERY_MS = 200

/** Removes containers and volumes; with `keepWork` home, workspace and ledger stay. Missing ones are fine. */
export async function removeBottle(identity: string, options: { keepWork: boolean }): Promise<void> {
  const names = namesOf(identity)
  const { sock, home, workspace, ledger } = names.volumes
  const volumes = options.keepWork ? [sock] : [sock, home, workspace, ledger]
  const until = Date.now() + LATE_WITHIN_MS
  for (;;) {
    await tolerant(["rm", "--force", names.agent, names.sidecars], "remove the bottle's containers")
    try {
      await tolerant(["volume", "rm", "--force", ...volumes], "remove the bottle's volumes")
      return
    } catch (error) {
      const inUse = error instanceof BottleError && error.why.includes("volume is in use")
      if (!inUse || Date.now() > until) throw error
      await delay(LATE_EVERY_MS)
    }
  }
}

/** `docker rm --force` and `docker volume rm --force` still complain of what is not there. */
async function tolerant(args: string[], doing: string): Promise<void> {
  const result = await run(["docker", ...args], { timeoutMs: WITHIN_MS })
  if (result.code === 0) return
  const faults = result.stderr
    .split("\n")
    .filter((line) => line !== "" && !/no such (container|volume)/i.test(line))
  if (faults.length > 0) {
    throw new BottleError({
      what: `Could not ${doing}`,
      why: faults.join("\n"),
      next: "Try again: bottle cleanup",
    })
  }
}

/** Every container and volume of this home, with the identity it belongs to. */
export async function findLeftovers(home: string, signal?: AbortSignal): Promise<Leftover[]> {
  const request = signal ? { signal } : {}
  const filter = ["--filter", `label=${LABEL_HOME}=${home}`]
  const format = `{{.Label "${LABEL_IDENTITY}"}}\t{{.Label "${LABEL_ROLE}"}}`
  const [containers, volumes] = await Promise.all([
    docker("list containers", ["ps", "--all", ...filter, "--format", `${format}\t{{.Names}}`], request),
    docker("list volumes", ["volume", "ls", ...filter, "--format", `${format}\t{{.Name}}`], request),
  ])
  return [...rows(containers, "container"), ...rows(volumes, "volume")]
}

function rows(text: string, kind: string): Leftover[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [identity = "", , name = ""] = line.split("\t")
      return { identity, what: `${kind} ${name}` }
    })
}

/** Removes the outside network when no gateway is on it. */
export async function removeNetwork(home: string): Promise<void> {
  const name = networkOf(home)
  const used = await askDocker(["network", "inspect", "--format", "{{len .Containers}}", name])
  if (used.trim() === "0") await tolerant(["network", "rm", name], "remove the gateways' network")
}
