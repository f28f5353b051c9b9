/** Where the user's files are, and who the user is: what manifests need to know of the process. */
import { homedir } from "node:os"
import { isAbsolute, join, resolve } from "node:path"
import { usageError } from "./error.ts"

/** Environment of the host, by name */
export type HostEnv = Readonly<Record<string, string | undefined>>

/** The environment this process was started with. */
export function hostEnv(): HostEnv {
  return process.env
}

/** The user's home folder, absolute: `$HOME`, else what the user database says. */
export function userHome(env: HostEnv): string {
  const home = env.HOME
  return home !== undefined && isAbsolute(home) ? resolve(home) : homedir()
}

/** The folder of bottles, agents and state, absolute: `$BOTTLE_HOME` or `~/.bottle`; it need not exist. */
export function bottleHome(env: HostEnv): string {
  const given = env.BOTTLE_HOME
  if (given === undefined || given === "") return join(userHome(env), ".bottle")
  // A relative folder would mean another one in each folder, so a cloned repository could supply the bottles.
  if (!isAbsolute(given)) {
    throw usageError(
      `BOTTLE_HOME is not an absolute path: ${given}`,
      `Set it to a full path, as in: export BOTTLE_HOME=${resolve(given)}`,
    )
  }
  return resolve(given)
}

/** The folder, absolute, of what can be made again at any time: `$XDG_CACHE_HOME/bottle` or `~/.cache/bottle`. */
export function bottleCache(env: HostEnv): string {
  const given = env.XDG_CACHE_HOME
  // The XDG base directory specification: a relative path is invalid and ignored.
  const base = given !== undefined && isAbsolute(given) ? resolve(given) : join(userHome(env), ".cache")
  return join(base, "bottle")
}

/** The folder the user called us from. */
export function callerCwd(): string {
  return process.cwd()
}

/** The user's numeric id; undefined where the system has none. */
export function callerUid(): number | undefined {
  return process.getuid?.()
}

/** `~` and `~/...` become the user's home, a relative path is taken from `folder`; the result is absolute. */
export function absolutePath(path: string, folder: string, home: string): string {
  if (path === "~") return home
  if (path.startsWith("~/")) return join(home, path.slice(2))
  return resolve(folder, path)
}
