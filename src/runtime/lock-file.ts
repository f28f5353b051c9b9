/**
 * A lock between processes: a file that names its holder. Neither Bun nor Node offers flock(2), so a holder that died
 * is told from a living one by pid, start time and boot, and its lock is taken over by exactly one successor.
 */
import { createHash, randomUUID } from "node:crypto"
import { readFileSync, unlinkSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import { createDurably, readBounded, writeForNow } from "./durable-file.ts"
import { BottleError } from "./error.ts"
import { currentOwner, ownerAlive, type ProcessOwner } from "./process-owner.ts"

/** Largest lock file that is read, in bytes */
const LOCK_MAX_BYTES = 4096
/** How deep takeovers of takeovers go: each level needs a process killed in the middle of the one below */
const TAKEOVER_DEPTH = 4
/** Pause between two attempts of a waiting process, in milliseconds */
const RETRY_MS = 10

/** The lock is free again when this is disposed, or when the process ends in whatever way. */
export type LockFile = Disposable

/** Takes the lock, or says who holds it. */
export function tryLock(path: string): Promise<{ lock: LockFile } | { holder: ProcessOwner }> {
  return acquire(path, 0)
}

/** Takes the lock, waiting at most `waitMs` milliseconds for a living holder to let go. */
export async function waitForLock(path: string, waitMs: number): Promise<LockFile> {
  const end = Date.now() + waitMs
  for (;;) {
    const result = await tryLock(path)
    if ("lock" in result) return result.lock
    if (Date.now() >= end) {
      throw new BottleError({
        what: `${path} stays locked`,
        why: `process ${result.holder.pid} holds it`,
        next: "Wait for that process to end, then try again",
      })
    }
    await delay(RETRY_MS)
  }
}

/** The living process that holds the lock; undefined when it is free or its holder is gone. */
export async function lockHolder(path: string): Promise<ProcessOwner | undefined> {
  const content = await readBounded(path, LOCK_MAX_BYTES)
  if (content === undefined) return undefined
  const holder = parse(content, path)
  return (await ownerAlive(holder)) ? holder : undefined
}

async function acquire(path: string, depth: number): Promise<{ lock: LockFile } | { holder: ProcessOwner }> {
  // The random part makes every lock's content its own, which the takeover below relies on.
  const content = `${JSON.stringify({ owner: await currentOwner(), nonce: randomUUID() })}\n`
  for (;;) {
    if (await createDurably(path, content, 0o600, "this boot")) return { lock: release(path, content) }
    const seen = await readBounded(path, LOCK_MAX_BYTES)
    if (seen === undefined) continue
    const holder = parse(seen, path)
    if (depth === TAKEOVER_DEPTH || (await ownerAlive(holder))) return { holder }
    // "Remove the stale lock, then create mine" lets two successors in: the second removes the first one's new lock.
    // So a stale lock is replaced only under a lock named after its very content, and only while that is still there.
    const name = createHash("sha256").update(seen).digest("hex").slice(0, 16)
    const takeover = await acquire(`${path}.${name}`, depth + 1)
    if ("holder" in takeover) return takeover
    using _ = takeover.lock
    const now = await readBounded(path, LOCK_MAX_BYTES)
    if (now?.equals(seen)) {
      await writeForNow(path, content)
      return { lock: release(path, content) }
    }
  }
}

function release(path: string, content: string): LockFile {
  return {
    [Symbol.dispose]() {
      try {
        if (readFileSync(path, "utf8") === content) unlinkSync(path)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
      }
    },
  }
}

function parse(content: Buffer, path: string): ProcessOwner {
  try {
    const { owner } = JSON.parse(content.toString("utf8")) as { owner: ProcessOwner }
    const { pid, start_time, boot_id, pid_namespace } = owner
    const texts = [start_time, boot_id, pid_namespace].every((text) => typeof text === "string")
    if (Number.isSafeInteger(pid) && pid > 0 && texts) return { pid, start_time, boot_id, pid_namespace }
  } catch {
    // Told below, the same for every kind of damage.
  }
  throw new BottleError({
    what: `${path} cannot be read`,
    why: "it is not a lock that bottle wrote",
    next: "When no bottle command is running, remove that file",
  })
}
