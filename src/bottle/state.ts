/** Makes, opens, lists and removes the state folders of bottles. */
import { randomBytes } from "node:crypto"
import { chmod, lstat, mkdir, opendir, readdir, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { showable } from "../policy/denial.ts"
import { fileError, readBounded, syncFolder, writeDurably, writeForNow } from "../runtime/durable-file.ts"
import { BottleError, reasonOf } from "../runtime/error.ts"
import { lockHolder, tryLock } from "../runtime/lock-file.ts"
import { ownerAlive } from "../runtime/process-owner.ts"
import { parseIdentity } from "./identity.ts"
import { formatMetadata, METADATA_MAX_BYTES, type Metadata, parseMetadata } from "./metadata.ts"
import {
  ensureStateRoot,
  folderFault,
  STATE_FOLDERS,
  type State,
  stateOf,
  stateRoot,
} from "./state-folder.ts"

/** Most entries of `state/` that are looked at; a bottle's name is random, so there is no order to lose */
const ENTRIES_MAX = 4096

/** Name of a folder that is being removed */
const GONE = /^\.gone-/
/** Name of a lock, or of the lock of a takeover */
const LOCK = /^([a-z0-9-]{1,46})\.lock(\.[0-9a-f]{16})*$/
/** Age after which a half-written file belongs to nobody, in milliseconds: a write takes well under a second */
const PART_LIFE_MS = 3_600_000
/** Name of a file that a write left behind when its process was killed */
const PART = /^\..+\.[0-9a-f]{12}\.part$/

/** A state that this process alone works with, until it is disposed. */
export interface HeldState extends State, Disposable {
  held: true
}

/** One entry of `state/`. */
export type StateEntry =
  | { kind: "bottle"; state: State; metadata: Metadata; preserved: boolean }
  /** Has no metadata: is being made, or was left half-written; `reapable` tells which */
  | { kind: "unfinished"; state: State }
  /** Something strange: shown to the user, never removed by us */
  | { kind: "broken"; name: string; reason: string }

/**
 * Makes the state of a new bottle, held by this process. Two starts never get the same folder: the lock is taken
 * first, and the folder must not exist. Until its metadata is written it counts as half-written.
 */
export async function createState(home: string, identity: string): Promise<HeldState> {
  const state = stateOf(home, identity)
  await ensureStateRoot(home)
  const held = await lockState(state)
  let made = false
  try {
    await mkdir(state.dir, { mode: 0o700 })
    made = true
    await chmod(state.dir, 0o700)
    for (const name of STATE_FOLDERS) {
      const path = join(state.dir, name)
      await mkdir(path, { mode: 0o700 })
      await chmod(path, 0o700)
    }
    return held
  } catch (error) {
    if (made) await rm(state.dir, { recursive: true, force: true }).catch(() => undefined)
    held[Symbol.dispose]()
    if ((error as NodeJS.ErrnoException).code === "EEXIST") {
      throw new BottleError({
        what: `A bottle named ${identity} exists already`,
        why: `${state.dir} is there`,
        next: `Run \`bottle resume ${identity}\`, or start again for a new identity`,
      })
    }
    throw fileError(`Could not make ${state.dir}`, error)
  }
}

/** The state of a bottle that exists. */
export async function openState(home: string, identity: string): Promise<State> {
  const state = stateOf(home, identity)
  try {
    const fault = (await folderFault(stateRoot(home))) ?? (await folderFault(state.dir))
    if (fault === undefined) return state
    throw new BottleError({ what: `${state.dir} is not the state of a bottle`, why: fault })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      throw fileError(`Could not open the state of ${identity}`, error)
    }
    throw new BottleError({
      what: `There is no bottle named ${identity}`,
      why: `${state.dir} does not exist`,
      next: "`bottle list active` shows the bottles there are",
    })
  }
}

/** Everything in `state/`, bottles or not, in the order of names. Reads at most ENTRIES_MAX entries. */
export async function listStates(home: string): Promise<StateEntry[]> {
  const root = stateRoot(home)
  const names: string[] = []
  let more = false
  try {
    const fault = await folderFault(root)
    if (fault !== undefined) return [{ kind: "broken", name: "state", reason: fault }]
    for await (const { name } of await opendir(root)) {
      if (GONE.test(name) || LOCK.test(name) || PART.test(name)) continue
      more = names.length === ENTRIES_MAX
      if (more) break
      names.push(name)
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw fileError(`Could not list ${root}`, error)
  }
  const entries: StateEntry[] = []
  for (const name of names.sort()) {
    const entry = await describe(home, name)
    if (entry !== undefined) entries.push(entry)
  }
  if (more) {
    entries.push({
      kind: "broken",
      name: "...",
      reason: `more than ${ENTRIES_MAX} entries: the rest is not read`,
    })
  }
  return entries
}

/** What one entry is; undefined when it went away meanwhile. */
async function describe(home: string, name: string): Promise<StateEntry | undefined> {
  const broken = (reason: string): StateEntry => ({ kind: "broken", name: showable(name, 64), reason })
  if (parseIdentity(name) === undefined) return broken("its name is not an identity")
  const state = stateOf(home, name)
  try {
    const fault = await folderFault(state.dir)
    if (fault !== undefined) return broken(fault)
    const metadata = await readMetadata(state)
    if (metadata === undefined) return { kind: "unfinished", state }
    return { kind: "bottle", state, metadata, preserved: await isPreserved(state) }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined
    return broken(showable(reasonOf(error), 300))
  }
}

/** The metadata of a bottle; undefined when it was never finished. */
export async function readMetadata(state: State): Promise<Metadata | undefined> {
  const content = await readBounded(state.metadata, METADATA_MAX_BYTES)
  if (content === undefined) return undefined
  const metadata = parseMetadata(content.toString("utf8"), state.metadata)
  if (metadata.identity === state.identity) return metadata
  throw new BottleError({
    what: `${state.metadata} cannot be used`,
    why: `it is the metadata of ${metadata.identity}: the folder was renamed or copied`,
    next: `Give the folder its name back: ${metadata.identity}`,
  })
}

/**
 * Writes the metadata. The first time this ends the half-written stage of a new bottle. While no agent has run there
 * is nothing a power cut could lose: a start that it cuts short is found as such, with metadata or without.
 */
export async function writeMetadata(state: HeldState, metadata: Metadata): Promise<void> {
  if (metadata.identity !== state.identity) {
    throw new Error(`metadata of ${metadata.identity} for the state of ${state.identity}`)
  }
  const write = metadata.phase === "starting" ? writeForNow : writeDurably
  await write(state.metadata, formatMetadata(metadata))
}

/** Keeps the state until the user removes it: no cleanup touches it. `reason` is for people who look. */
export async function preserve(state: State, reason: string): Promise<void> {
  await writeDurably(state.preserveMarker, `${reason}\n`)
}

export async function isPreserved(state: State): Promise<boolean> {
  try {
    await lstat(state.preserveMarker)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false
    throw error
  }
}

/** Makes this process the only one that starts, resumes, ends or removes that bottle. */
export async function lockState(state: State): Promise<HeldState> {
  const result = await tryLock(state.lockFile)
  if ("lock" in result) return { ...state, held: true, [Symbol.dispose]: () => result.lock[Symbol.dispose]() }
  throw new BottleError({
    what: `${state.identity} is in use`,
    why: `process ${result.holder.pid} is working with it`,
    next: `Wait for that process to end, or join a running bottle with \`bottle attach ${state.identity}\``,
  })
}

/**
 * Whether the state holds nothing of worth and nobody is at work with it, and why. It speaks of the host's side alone:
 * whether containers or processes are left is the backend's to say. Ask again while holding it before removing it.
 */
export async function reapable(state: State | HeldState): Promise<{ reap: boolean; reason: string }> {
  const keep = (reason: string) => ({ reap: false, reason })
  if (await isPreserved(state)) return keep("it is preserved")
  if (!("held" in state)) {
    const holder = await lockHolder(state.lockFile)
    if (holder !== undefined) return keep(`process ${holder.pid} is working with it`)
  }
  const metadata = await readMetadata(state)
  if (metadata === undefined) return { reap: true, reason: "its start was cut short" }
  if (metadata.phase === "running") return keep("its agent was running")
  if (metadata.phase === "starting") {
    if (await ownerAlive(metadata.owner)) return keep(`process ${metadata.owner.pid} is starting it`)
    return { reap: true, reason: "its start was cut short" }
  }
  // The same rule as at an ordinary end, so that a killed teardown loses nothing that a finished one would have kept.
  const { exit } = metadata
  if (exit === undefined) return keep("its end was not seen")
  if (exit.code !== 0) return keep(`its agent ended with ${exit.code}`)
  if (exit.workspace.verdict === "kept-work") return keep("its workspace holds work")
  return { reap: true, reason: "it ended with nothing to keep" }
}

/**
 * Removes a state folder and everything in it, symbolic links as such. The folder vanishes by one rename; what a crash
 * leaves of it afterwards is found by `sweep`. A preserved one goes only when `preserved` says that the user wants it.
 */
export async function removeState(state: HeldState, options: { preserved?: boolean } = {}): Promise<void> {
  const root = stateRoot(state.home)
  const refuse = (why: string) => new BottleError({ what: `${state.dir} was not removed`, why })
  if (dirname(state.dir) !== root || parseIdentity(state.identity) === undefined) {
    throw refuse(`it is not a state folder in ${root}`)
  }
  try {
    const fault = (await folderFault(root)) ?? (await folderFault(state.dir))
    if (fault !== undefined) throw refuse(fault)
    if (options.preserved !== true && (await isPreserved(state))) throw refuse("it is preserved")
    const gone = join(root, `.gone-${state.identity}-${randomBytes(4).toString("hex")}`)
    await rename(state.dir, gone)
    await syncFolder(root)
    await removeTree(gone)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return
    throw fileError(`${state.dir} was not removed`, error)
  }
}

/** Finishes what processes that are gone left in `state/`: removals cut short, locks, half-written files. */
export async function sweep(home: string): Promise<void> {
  const root = stateRoot(home)
  try {
    if ((await folderFault(root)) !== undefined) return
    const names = await readdir(root)
    for (const name of names) await sweepOne(root, name, names)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return
    throw fileError(`Could not tidy up ${root}`, error)
  }
}

async function sweepOne(root: string, name: string, names: string[]): Promise<void> {
  const path = join(root, name)
  if (GONE.test(name) && (await lstat(path)).isDirectory()) return removeTree(path)
  if (PART.test(name) && (await lstat(path)).mtimeMs < Date.now() - PART_LIFE_MS)
    return rm(path, { force: true })
  const identity = LOCK.exec(name)?.[1]
  if (identity === undefined || names.includes(identity)) return
  // Taking the lock is the only safe way to remove a stale one: it goes when this lets go of it.
  const result = await tryLock(path)
  if ("lock" in result) result.lock[Symbol.dispose]()
}

/** Removes a tree of our own, also where the agent left folders that forbid it (Go's module cache is 0555). */
async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true })
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code !== "EACCES" && code !== "EPERM") throw error
    await openFolders(path)
    await rm(path, { recursive: true, force: true })
  }
}

async function openFolders(path: string): Promise<void> {
  await chmod(path, 0o700)
  for (const entry of await readdir(path, { withFileTypes: true })) {
    // A Dirent tells of the entry itself, so that no symbolic link is followed out of the tree.
    if (entry.isDirectory()) await openFolders(join(path, entry.name))
  }
}
