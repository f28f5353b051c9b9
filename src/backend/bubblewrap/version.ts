/** What the installed bubblewrap is and can do. */
import { statSync } from "node:fs"
import type { HostEnv } from "../../runtime/home.ts"
import { remembered } from "../../runtime/remembered.ts"
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

/** `path` is absolute. Undefined when what answers is no bubblewrap. Throws a BottleError when it cannot be run. */
export async function askBubblewrap(
  path: string,
  env: HostEnv,
  request: RunRequest,
): Promise<Bubblewrap | undefined> {
  type Said = Omit<Bubblewrap, "setuid">
  const isWhole = ({ version, options }: Partial<Said>) =>
    typeof version === "string" && Array.isArray(options)
  const said = await remembered<Said>(path, "bubblewrap", env, isWhole, async () => {
    const asked = ["--version", "--help"].map((option) => run([path, option], request))
    const [named, helped] = await Promise.all(asked)
    const version = /^bubblewrap (\d+\.\d+\S*)/.exec(named!.stdout)?.[1]
    const options = [...new Set(helped!.stdout.match(/--[a-z][a-z-]+/g) ?? [])]
    return version === undefined ? undefined : { version, options }
  })
  // Never from memory: a change of mode alone leaves the file's time as it was.
  return said && { ...said, setuid: (statSync(path).mode & SETUID) !== 0 }
}
