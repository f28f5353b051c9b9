/** Ends a bottle's processes, and takes away what only a running one needs. */
import { rm } from "node:fs/promises"
import { dirname } from "node:path"
import { removeCgroups } from "./bottle-cgroups.ts"
import { endKeeper } from "./keeper.ts"
import { placesOf } from "./places.ts"

/** With `keepWork` home, workspace and ledger stay; without, only what the state folder itself holds is left. */
export async function removeBottle(
  home: string,
  identity: string,
  options: { keepWork: boolean },
): Promise<void> {
  const places = placesOf(home, identity)
  await endKeeper(places)
  await removeCgroups(identity)
  for (const path of [places.owner, dirname(places.control)]) {
    await rm(path, { recursive: true, force: true })
  }
  if (!options.keepWork) {
    const { removeTree } = await import("./tree-copy.ts")
    for (const path of [places.home, places.workspace]) await removeTree(path)
  }
  // Last: as long as it is there, the bottle counts as one that has to be settled.
  await rm(places.sockets, { recursive: true, force: true })
}
