/** What is left of bottles that no longer run, and how each of it is removed. Kept work is not garbage. */
import { lstat } from "node:fs/promises"
import { allBackends } from "../backend/registry.ts"
import type { ActiveBottle, Backend } from "../backend/types.ts"
import { parseIdentity } from "../bottle/identity.ts"
import {
  listStates,
  lockState,
  readMetadata,
  reapable,
  removeState,
  type StateEntry,
} from "../bottle/state.ts"
import { type State, stateOf } from "../bottle/state-folder.ts"
import { reasonOf } from "../runtime/error.ts"
import { lockHolder } from "../runtime/lock-file.ts"
import { ownerAlive } from "../runtime/process-owner.ts"
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
  /** Backends that could not be asked: their bottles count as running. `concerned`: a state here is one's */
  unasked: { backend: string; reason: string; concerned: boolean }[]
  /** States that cannot be read: nothing of theirs is touched */
  unread: { name: string; reason: string }[]
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
      for (const item of await garbageOf(backend, home, states, claimed)) items.push(item)
    } catch (error) {
      // A state without metadata had nothing made for it yet: only what is named may be this backend's.
      const theirs = states.flatMap((entry) =>
        entry.kind === "bottle" && entry.metadata.backend === backend.name ? [entry.state.identity] : [],
      )
      for (const identity of theirs) claimed.add(identity)
      unasked.push({ backend: backend.name, reason: reasonOf(error), concerned: theirs.length > 0 })
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
  const unread = states.filter((entry) => entry.kind === "broken")
  return { items, unasked, unread }
}

/** Removes what bottles share where none is left. Answers with the backends where that failed. */
export async function removeSharedLeftovers(home: string): Promise<{ backend: string; reason: string }[]> {
  const failed: { backend: string; reason: string }[] = []
  for (const backend of await allBackends(home)) {
    try {
      if ((await backend.leftovers(AbortSignal.timeout(WITHIN_MS))).length === 0) await backend.removeShared()
    } catch (error) {
      failed.push({ backend: backend.name, reason: reasonOf(error) })
    }
  }
  return failed
}

async function garbageOf(
  backend: Backend,
  home: string,
  states: StateEntry[],
  claimed: Set<string>,
): Promise<Garbage[]> {
  const signal = AbortSignal.timeout(WITHIN_MS)
  const [active, leftovers] = await Promise.all([backend.list(signal), backend.leftovers(signal)])
  const byIdentity = Map.groupBy(leftovers, (leftover) => leftover.identity)
  const items: Garbage[] = []
  for (const [identity, objects] of [...byIdentity].sort(([a], [b]) => a.localeCompare(b))) {
    // A label that is no identity of ours is nothing we made.
    if (parseIdentity(identity) === undefined) continue
    claimed.add(identity)
    const state = stateOf(home, identity)
    const entry = states.find((other) => other.kind !== "broken" && other.state.identity === identity)
    // A state that is there and cannot be read (of a newer version, say) may well be kept work.
    if (entry === undefined && (await isThere(state))) continue
    const running = active.find((bottle) => bottle.identity === identity)
    if (await livesOn(running, state)) continue
    if ((await lockHolder(state.lockFile)) !== undefined) continue
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

/** Whether it runs, and somebody may come back to it. */
async function livesOn(running: ActiveBottle | undefined, state: State): Promise<boolean> {
  if (running === undefined || running.status === "ended") return false
  if (!(await isThere(state))) return true
  // Its agent never ran and its starter is gone: its containers wait for nobody.
  const metadata = await readMetadata(state)
  return metadata !== undefined && !(metadata.phase === "starting" && !(await ownerAlive(metadata.owner)))
}

async function isThere(state: State): Promise<boolean> {
  try {
    await lstat(state.dir)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false
    throw error
  }
}

async function removeBottle(backend: Backend, state: State, entry: StateEntry | undefined): Promise<string> {
  // The person may have thought for long: what began to run, or was made, in the meantime is left alone.
  using held = entry === undefined ? undefined : await lockState(state)
  const running = (await backend.list()).find((bottle) => bottle.identity === state.identity)
  if (await livesOn(running, state)) return "was left alone: it runs again"
  if (held === undefined) {
    if (await isThere(state)) return "was left alone: it has a state by now"
    await backend.remove(state.identity, { keepWork: false })
    return ""
  }
  const settled = await settleBottle(backend, held, undefined)
  return settled.kept ? `kept its work (${settled.reason}): bottle resume ${state.identity}` : ""
}
