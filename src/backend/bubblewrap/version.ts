/**
 * What the installed bubblewrap is and can do. Asking it takes two processes, so the answer is remembered for as long
 * as its file stays the same.
 */
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { bottleCache, type HostEnv } from "../../runtime/home.ts"
import { type RunRequest, run } from "../../runtime/spawn.ts"

export interface Bubblewrap {
  /** As it says it, `0.8.0` */
  version: string
  /** Options that its help names: `--disable-userns` */
  options: string[]
  /** Whether its file is setuid root, and bubblewrap then works in another mode */
  setuid: boolean
}

const SETUID = 0o4000
/** What is remembered of a bubblewrap, in bytes: its options are some 1.5 KB */
const REMEMBERED_MAX = 64 * 1024

/** Throws a BottleError when it cannot be run. Undefined when what answers is no bubblewrap. */
export async function askBubblewrap(
  path: string,
  env: HostEnv,
  request: RunRequest,
): Promise<Bubblewrap | undefined> {
  const { size, mtimeMs, ctimeMs, ino, mode } = statSync(path)
  const key = [path, size, mtimeMs, ctimeMs, ino].join(":")
  const folder = bottleCache(env)
  const memory = join(folder, "bubblewrap.json")
  const setuid = (mode & SETUID) !== 0
  const known = recall(memory)
  if (known?.key === key) return { version: known.version, options: known.options, setuid }
  const [named, helped] = await Promise.all([
    run([path, "--version"], request),
    run([path, "--help"], request),
  ])
  const version = /^bubblewrap (\d+\.\d+\S*)/.exec(named.stdout)?.[1]
  if (named.code !== 0 || version === undefined) return undefined
  const options = [...new Set(helped.stdout.match(/--[a-z][a-z-]+/g) ?? [])]
  remember(folder, memory, { key, version, options })
  return { version, options, setuid }
}

interface Remembered {
  key: string
  version: string
  options: string[]
}

function recall(path: string): Remembered | undefined {
  try {
    if (statSync(path).size > REMEMBERED_MAX) return undefined
    const value = JSON.parse(readFileSync(path, "utf8")) as Partial<Remembered>
    const whole =
      typeof value.key === "string" && typeof value.version === "string" && Array.isArray(value.options)
    return whole ? (value as Remembered) : undefined
  } catch {
    return undefined
  }
}

/** A memory that cannot be written is only slower. */
function remember(folder: string, path: string, value: Remembered): void {
  const temporary = `${path}.${process.pid}`
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    writeFileSync(temporary, JSON.stringify(value), { mode: 0o600 })
    renameSync(temporary, path)
  } catch {
    // Asked again the next time.
  }
}
