/** The manifests of whoever calls us, for the verbs. */
import { sep } from "node:path"
import { type LoadOptions, loadManifests, type Manifests } from "../manifest/load.ts"
import { bottleHome, callerCwd, hostEnv, userHome } from "../runtime/home.ts"
import { paint, tell } from "../runtime/output.ts"

/** Loads them; what is ignored is told on stderr. */
export function openManifests(): Manifests {
  const manifests = loadManifests(callerPlaces())
  for (const warning of manifests.warnings) tell(`${paint("stderr").warn("warning")} ${warning}`)
  return manifests
}

/** Where the caller's manifests are looked for. */
export function callerPlaces(): LoadOptions & { userHome: string } {
  const env = hostEnv()
  return { home: bottleHome(env), cwd: callerCwd(), userHome: userHome(env) }
}

/** A path as people write it: `~` for their home folder. */
export function shortPath(path: string): string {
  const home = userHome(hostEnv())
  return path === home || path.startsWith(home + sep) ? `~${path.slice(home.length)}` : path
}
