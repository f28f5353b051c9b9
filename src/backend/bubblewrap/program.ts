/** Where on the host a program is, by the rules of a shell and with an explanation when it is not there. */
import { accessSync, constants, lstatSync, realpathSync, type Stats, statSync } from "node:fs"
import { basename, dirname, isAbsolute, join, resolve } from "node:path"
import { BottleError, reasonOf } from "../../runtime/error.ts"
import { callerCwd, callerUid, type HostEnv } from "../../runtime/home.ts"

export interface Program {
  /** Absolute path as it was found, symbolic links and all */
  path: string
  /** The same without symbolic links */
  real: string
}

/** PATH where the user has none, as execvp(3) has it */
const PATH_DEFAULT = "/usr/local/bin:/usr/bin:/bin"

/** How the agents that people ask for are installed */
const INSTALLATION: Record<string, string> = {
  claude: "npm i -g @anthropic-ai/claude-code",
  codex: "npm i -g @openai/codex",
}

/** Programs that look at their own name and start another one from a folder that no sandbox has. */
const DISPATCHERS: Record<string, string> = {
  "volta-shim": "volta",
  mise: "mise",
  rustup: "rustup",
  snap: "snap",
}

/** A name is looked for on PATH; what has a slash is a path. Throws a BottleError that says what to do. */
export function findProgram(program: string, env: HostEnv): Program {
  if (program.includes("/")) return runnable(program, resolve(callerCwd(), program))
  const folders = (env.PATH || PATH_DEFAULT).split(":")
  let fault: unknown
  for (const folder of folders) {
    // A relative folder is another one in each repository, and would let that repository name the agent.
    if (!isAbsolute(folder)) continue
    const path = join(folder, program)
    if (lookAt(path) === undefined) continue
    try {
      return runnable(program, path)
    } catch (error) {
      // As a shell does: a later folder may have one that works.
      fault ??= error
    }
  }
  if (fault !== undefined) throw fault
  const install = INSTALLATION[program]
  throw new BottleError({
    what: `\`${program}\` is not installed on this machine`,
    why: `it was looked for in every folder of PATH: ${folders.filter(isAbsolute).join(", ")}`,
    next:
      install === undefined
        ? `Install \`${program}\`, or put its folder on PATH`
        : `Install it: ${install}; or put its folder on PATH`,
  })
}

/** As to a shell, what is in a folder that we may not enter (another user's on our PATH) is not there. */
function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

function runnable(program: string, path: string): Program {
  const what = `\`${program}\` cannot be run`
  const link = lookAt(path)?.isSymbolicLink() === true
  let real: string
  try {
    real = realpathSync(path)
  } catch (error) {
    const why = link ? `${path} is a symbolic link that leads nowhere` : `there is no ${path}`
    const denied = (error as NodeJS.ErrnoException).code !== "ENOENT"
    const next = link ? `Install \`${program}\` again, or remove ${path}` : "Give the path of a program"
    throw new BottleError({ what, why: denied ? reasonOf(error) : why, next, cause: error })
  }
  const about = statSync(real)
  if (!about.isFile())
    throw new BottleError({ what, why: `${path} is not a file`, next: "Give the path of a program" })
  try {
    accessSync(real, constants.X_OK)
  } catch (error) {
    throw new BottleError({
      what,
      why: `${path} is not executable`,
      next: `Make it so: chmod +x ${real}`,
      cause: error,
    })
  }
  refuseDispatcher(program, path, real)
  // Root's bottles run under a uid of their own, to which root's private files are somebody else's.
  if (callerUid() === 0 && (about.mode & 0o005) !== 0o005) {
    const why = `${real} is for its owner alone, and the sandbox runs as another user`
    throw new BottleError({ what, why, next: `Let others run it: chmod o+rx ${real}` })
  }
  return { path, real }
}

/** A version manager's stand-in for a program chooses the real one when it runs, with files that are not inside. */
function refuseDispatcher(program: string, path: string, real: string): void {
  const folder = dirname(path)
  const name = basename(path)
  let manager = basename(real) === name ? undefined : DISPATCHERS[basename(real)]
  if (basename(folder) === "shims") manager ??= basename(dirname(folder)).replace(/^\./, "")
  if (manager === undefined) return
  throw new BottleError({
    what: `\`${program}\` cannot be taken into a sandbox as it is`,
    why: `${path} is a stand-in of ${manager}, which starts the real program from elsewhere`,
    next:
      manager === "snap"
        ? `Install \`${program}\` by other means than snap, and put its folder first on PATH`
        : `Put the folder of the real program first on PATH; this names it: ${manager} which ${name}`,
  })
}
