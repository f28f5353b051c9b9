/**
 * The version of Docker's Compose plugin. Asking it costs more than a tenth of a start, so the answer is remembered
 * for as long as the plugin's file stays the same.
 */
import { realpathSync, statSync } from "node:fs"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { hostEnv, userHome } from "../../runtime/home.ts"
import { run } from "../../runtime/spawn.ts"
import { composePlugin } from "./compose-plugin.ts"

/** The version as the plugin says it, `2.26.1`; undefined when there is no plugin, or it does not answer. */
export async function composeVersion(request: {
  timeoutMs: number
  signal?: AbortSignal
}): Promise<string | undefined> {
  const env = hostEnv()
  const key = pluginKey()
  const folder = join(env.XDG_CACHE_HOME || join(userHome(env), ".cache"), "bottle")
  const path = join(folder, "compose-version.json")
  const known = key === undefined ? undefined : await recall(path)
  if (known !== undefined && known.key === key) return known.version
  const asked = await run(["docker", "compose", "version", "--short"], request)
  if (asked.code !== 0) return undefined
  const version = asked.stdout.trim().replace(/^v/, "")
  if (key !== undefined) await remember(folder, path, { key, version })
  return version
}

/** Path, size and time of the plugin that docker would run; undefined when it is in none of the usual places. */
function pluginKey(): string | undefined {
  const path = composePlugin()
  if (path === undefined) return undefined
  const { size, mtimeMs, ino } = statSync(path)
  return `${realpathSync(path)}:${size}:${mtimeMs}:${ino}`
}

interface Remembered {
  key: string
  version: string
}

async function recall(path: string): Promise<Remembered | undefined> {
  try {
    const value = JSON.parse(await readFile(path, "utf8")) as Partial<Remembered>
    return typeof value.key === "string" && typeof value.version === "string"
      ? (value as Remembered)
      : undefined
  } catch {
    return undefined
  }
}

/** A memory that cannot be written is only slower. */
async function remember(folder: string, path: string, value: Remembered): Promise<void> {
  const temporary = `${path}.${process.pid}`
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeFile(temporary, JSON.stringify(value), { mode: 0o600 })
    await rename(temporary, path)
  } catch {}
}
