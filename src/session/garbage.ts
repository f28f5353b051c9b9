/** What is left of bottles that no longer run, and how each of it is removed. Kept work is not garbage. */
import { allBackends } from "../backend/registry.ts"
import type { Backend } from "../backend/types.ts"
import { parseIdentity } from "../bottle/identity.ts"
import { listStates, lockState, reapable, removeState, type StateEntry } from "../bottle/state.ts"
import { type State, stateOf } from "../bottle/state-folder.ts"
import { reasonOf } from "../runtime/error.ts"
import { lockHolder } from "../runtime/lock-file.ts"
import { settleBottle } from "./settle.ts"

/** A backend that has not answered after this counts as unable to, in milliseconds. */
const WITHIN_MS = 15_000

export interface Garbage {
  /** Heading it stands under: a backend, or `state` */
  section: string
  name: string
  about: string
  /** Removes it; answers what became of it when that is not simply gone */
  remove(): Promise<string>
}

export interface Findings {
  items: Garbage[]
  /** Backends that could not be asked: their bottles count as running */
  unasked: { backend: string; reason: string }[]
}

/** In a fixed order: backend by backend, then state folders, each by identity. Never throws for a single backend. */
export async function findGarbage(home: string): Promise<Findings> {
  const states = await listStates(home)
  const items: Garbage[] = []
  const unasked: Findings["unasked"] = []
  /** Identities that a backend answers for, or may answer for */
  const claimed = new Set<string>()
  for (const backend of await allBackends(home)) {
    try {
      for (const item of await within(garbageOf(backend, home, states, claimed))) items.push(item)
    } catch (error) {
      unasked.push({ backend: backend.name, reason: reasonOf(error) })
      for (const entry of states) {
        const ofThis =
          entry.kind === "unfinished" || (entry.kind === "bottle" && entry.metadata.backend === backend.name)
        if (ofThis) claimed.add(entry.state.identity)
      }
    }
  }
  for (const entry of states) {
    if (entry.kind === "broken" || claimed.has(entry.state.identity)) continue
    const { reap, reason } = await reapable(entry.state)
    if (!reap) continue
    items.push({
      section: "state",
      name: entry.state.identity,
      about: reason,
      remove: async () => {
        using held = await lockState(entry.state)
        if ((await reapable(held)).reap) await removeState(held)
        return ""
      },
    })
  }
  return { items, unasked }
}

async function garbageOf(
  backend: Backend,
  home: string,
  states: StateEntry[],
  claimed: Set<string>,
): Promise<Garbage[]> {
  const [active, leftovers] = await Promise.all([backend.list(), backend.leftovers()])
  const byIdentity = Map.groupBy(leftovers, (leftover) => leftover.identity)
  const items: Garbage[] = []
  for (const [identity, objects] of [...byIdentity].sort(([a], [b]) => a.localeCompare(b))) {
    // A label that is no identity of ours is nothing we made.
    if (parseIdentity(identity) === undefined) continue
    claimed.add(identity)
    const running = active.find((bottle) => bottle.identity === identity)
    if (running !== undefined && running.status !== "ended" && !(await startCutShort(home, identity, states)))
      continue
    const state = stateOf(home, identity)
    if ((await lockHolder(state.lockFile)) !== undefined) continue
    const entry = states.find((other) => other.kind !== "broken" && other.state.identity === identity)
    // What was kept for a resume is the user's, as long as nothing else of it is there.
    if (entry?.kind === "bottle" && entry.preserved && running === undefined) continue
    const about = objects.map(({ what }) => what.split(" ")[0]).join(", ")
    items.push({
      section: backend.name,
      name: identity,
      about: entry === undefined ? `no state; ${about}` : about,
      remove: () => removeBottle(backend, state, entry),
    })
  }
  return items
}

/** A bottle whose agent never ran and whose starter is gone: its containers wait for nobody. */
async function startCutShort(home: string, identity: string, states: StateEntry[]): Promise<boolean> {
  const entry = states.find((other) => other.kind !== "broken" && other.state.identity === identity)
  if (entry === undefined || entry.kind === "broken") return false
  const known = await reapable(stateOf(home, identity))
  return known.reap
}

async function removeBottle(backend: Backend, state: State, entry: StateEntry | undefined): Promise<string> {
  if (entry === undefined || entry.kind === "broken") {
    await backend.remove(state.identity, { keepWork: false })
    return ""
  }
  using held = await lockState(state)
  if ((await reapable(held)).reap) {
    await backend.remove(state.identity, { keepWork: false })
    await removeState(held)
    return ""
  }
  const settled = await settleBottle(backend, held, undefined)
  return settled.kept ? `kept its work (${settled.reason}): bottle resume ${state.identity}` : ""
}

async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${WITHIN_MS / 1000} s`)), WITHIN_MS)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
