/** The bottles of this backend, found in the state folders of this home: nothing of them is anywhere else. */
import { existsSync } from "node:fs"
import { listStates } from "../../bottle/state.ts"
import type { ActiveBottle, Leftover } from "../types.ts"
import { keeperOf } from "./keeper.ts"
import { placesOf } from "./places.ts"

/** Those whose agent runs, and those that ended and are not settled. */
export async function listBottles(home: string): Promise<ActiveBottle[]> {
  const states = await listStates(home)
  const bottles = await Promise.all(
    states.map(async (entry): Promise<ActiveBottle | undefined> => {
      if (entry.kind !== "bottle" || entry.metadata.backend !== "bubblewrap") return undefined
      const { identity, agent, started_at } = entry.metadata
      const places = placesOf(home, identity)
      // Taken away when a bottle is settled.
      if (!existsSync(places.sockets)) return undefined
      const runs = (await keeperOf(places)) !== undefined
      return {
        backend: "bubblewrap",
        identity,
        agent,
        startedAt: started_at,
        // The keeper ends when either of them does, so one is not there without the other.
        services: runs ? ["agent", "egress"] : [],
        status: runs ? "running" : "ended",
      }
    }),
  )
  return bottles
    .filter((bottle) => bottle !== undefined)
    .sort((a, b) => a.startedAt.localeCompare(b.startedAt))
}

export async function findLeftovers(home: string): Promise<Leftover[]> {
  const bottles = await listBottles(home)
  return bottles.map(({ identity, status }) => ({
    identity,
    what: status === "running" ? `processes of ${identity}` : `sandbox of ${identity}`,
  }))
}
