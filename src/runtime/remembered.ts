/**
 * What a program said of itself, kept in the cache for as long as its file stays the same: asking takes a process, and
 * that is a good part of a start.
 */
import { realpathSync, statSync } from "node:fs"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { bottleCache, type HostEnv } from "./home.ts"

/** Longest memory that is read, in bytes: a version and a list of options are some kilobytes */
const REMEMBERED_MAX = 64 * 1024

/**
 * `program` is the path of its file, `name` the memory's own name. `isWhole` says whether a memory is one, because
 * anything may stand in a cache. An undefined answer is not kept. Throws what `ask` throws.
 */
export async function remembered<T extends object>(
  program: string,
  name: string,
  env: HostEnv,
  isWhole: (value: Partial<T>) => boolean,
  ask: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const { size, mtimeMs, ino } = statSync(program)
  const key = `${realpathSync(program)}:${size}:${mtimeMs}:${ino}`
  const folder = bottleCache(env)
  const path = join(folder, `${name}.json`)
  const known = await recall<T>(path)
  if (known?.key === key && known.answer !== undefined && isWhole(known.answer)) return known.answer
  const answer = await ask()
  if (answer !== undefined) await remember(folder, path, { key, answer })
  return answer
}

interface Memory<T> {
  key: string
  answer: T
}

async function recall<T>(path: string): Promise<Partial<Memory<T>> | undefined> {
  try {
    if (statSync(path).size > REMEMBERED_MAX) return undefined
    const value: unknown = JSON.parse(await readFile(path, "utf8"))
    return typeof value === "object" && value !== null ? (value as Partial<Memory<T>>) : undefined
  } catch {
    return undefined
  }
}

/** A memory that cannot be written is only slower. */
async function remember(folder: string, path: string, value: Memory<object>): Promise<void> {
  const temporary = `${path}.${process.pid}`
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeFile(temporary, JSON.stringify(value), { mode: 0o600 })
    await rename(temporary, path)
  } catch {
    // Asked again the next time.
  }
}
