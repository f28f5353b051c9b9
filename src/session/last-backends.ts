/**
 * Which backend each agent was started on last, so that a weaker one is not taken quietly when that is missing. A note
 * alone: without it, every agent is one that was never started.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as z from "zod/mini"
import type { BackendName } from "../manifest/types.ts"
import { once } from "../policy/lazy.ts"
import { readBounded, writeDurably } from "../runtime/durable-file.ts"
import { waitForLock } from "../runtime/lock-file.ts"

/** Largest file, in bytes: a thousand agents. Of more, those that were noted first are forgotten. */
const FILE_MAX = 256 * 1024
/** What the file has around an entry and around all of them, at most, in bytes */
const AROUND = 64
/** Time that another command may take to note its own agent, in milliseconds */
const LOCK_WAIT_MS = 2_000
/** Age at which a note that still holds is written again, in milliseconds, so that what is in use is not forgotten */
const REFRESH_MS = 24 * 3_600_000

const lastBackend = once(() =>
  z.strictObject({
    backend: z.enum(["docker", "smolmachines", "bubblewrap"]),
    /** When it was started, RFC 3339 */
    at: z.iso.datetime(),
  }),
)

const lastBackends = once(() =>
  z.strictObject({
    /** Schema version of the file */
    version: z.literal(1),
    /** By absolute path of the agent's file: repositories may name their agents alike */
    agents: z.record(z.string(), lastBackend()),
  }),
)

export type LastBackend = z.infer<ReturnType<typeof lastBackend>>
type LastBackends = z.infer<ReturnType<typeof lastBackends>>

/** What is known of an agent's last start. */
export type LastUse =
  | { kind: "used"; last: LastBackend }
  | { kind: "never" }
  /** There is a note that cannot be read */
  | { kind: "unknown"; path: string }

/** Where the agent of that file was started last. Never throws. */
export async function lastUse(home: string, agentFile: string): Promise<LastUse> {
  const path = noteOf(home)
  const notes = await read(path).catch(() => undefined)
  if (notes === undefined) return { kind: "unknown", path }
  const last = Object.hasOwn(notes.agents, agentFile) ? notes.agents[agentFile] : undefined
  return last === undefined ? { kind: "never" } : { kind: "used", last }
}

/** A guess, for whoever cannot wait for more: whether any agent was started on that backend last. Never throws. */
export function mentionsBackend(home: string, backend: BackendName): boolean {
  try {
    return readFileSync(noteOf(home), "utf8").includes(`"${backend}"`)
  } catch {
    return false
  }
}

/** Notes that an agent was started on a backend. A damaged file is replaced. Throws when it cannot be written. */
export async function noteUse(home: string, agentFile: string, backend: BackendName): Promise<void> {
  const before = await lastUse(home, agentFile)
  if (before.kind === "used" && before.last.backend === backend && isFresh(before.last)) return
  const path = noteOf(home)
  using _ = await waitForLock(`${path}.lock`, LOCK_WAIT_MS)
  const { agents } = await read(path).catch(nothing)
  const noted = { ...agents, [agentFile]: { backend, at: new Date().toISOString() } }
  let room = FILE_MAX - AROUND
  const kept = Object.entries(noted)
    .sort(([, a], [, b]) => Date.parse(b.at) - Date.parse(a.at))
    .filter((entry) => {
      room -= Buffer.byteLength(JSON.stringify(entry)) + AROUND
      return room >= 0
    })
  const content: LastBackends = { version: 1, agents: Object.fromEntries(kept) }
  await writeDurably(path, `${JSON.stringify(content, null, 2)}\n`)
}

function noteOf(home: string): string {
  return join(home, "last-backends.json")
}

/** A time that lies ahead is one of another clock. */
function isFresh({ at }: LastBackend): boolean {
  const age = Date.now() - Date.parse(at)
  return age >= 0 && age < REFRESH_MS
}

function nothing(): LastBackends {
  return { version: 1, agents: {} }
}

/** Throws for a file that is not what was written here. */
async function read(path: string): Promise<LastBackends> {
  const bytes = await readBounded(path, FILE_MAX)
  return bytes === undefined ? nothing() : lastBackends().parse(JSON.parse(bytes.toString("utf8")))
}
