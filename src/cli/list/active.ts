/** `bottle list active`: the bottles of this home, from every backend, bounded in time. */
import { allBackends } from "../../backend/registry.ts"
import type { ActiveBottle } from "../../backend/types.ts"
import { listStates } from "../../bottle/state.ts"
import { reasonOf } from "../../runtime/error.ts"
import { paint, print, tell } from "../../runtime/output.ts"

/** A backend that has not answered after this is skipped, in milliseconds. */
const WITHIN_MS = 5000

/** Prints `backend identity agent services` separated by tabs; ended and broken ones carry a fifth field. */
export async function listActive(home: string, format: "text" | "json"): Promise<number> {
  const colour = paint("stderr")
  const asked = await Promise.all(
    (await allBackends(home)).map(async (backend) => {
      try {
        return await backend.list(AbortSignal.timeout(WITHIN_MS))
      } catch (error) {
        // Who never had a bottle there has nothing to miss.
        if (await concerns(home, backend.name))
          tell(`${colour.warn(`skipped ${backend.name}:`)} ${reasonOf(error)}`)
        return []
      }
    }),
  )
  const bottles = asked.flat()
  if (format === "json") {
    print(JSON.stringify(bottles.map(asData), null, 2))
    return 0
  }
  for (const bottle of bottles) {
    const fields = [bottle.backend, bottle.identity, bottle.agent, bottle.services.join(",")]
    print([...fields, ...(bottle.status === "running" ? [] : [bottle.status])].join("\t"))
  }
  if (bottles.length === 0) tell(colour.dim("No bottles."))
  return 0
}

async function concerns(home: string, backend: string): Promise<boolean> {
  const states = await listStates(home)
  return states.some((entry) => entry.kind === "bottle" && entry.metadata.backend === backend)
}

function asData({ backend, identity, agent, services, status, startedAt }: ActiveBottle) {
  return { backend, identity, agent, services, status, started_at: startedAt }
}
