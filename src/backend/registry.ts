/** The backends there are, in the order in which they are preferred. */
import type { BackendName } from "../manifest/types.ts"
import { BottleError, usageError } from "../runtime/error.ts"
import type { Backend, Need } from "./types.ts"

/** Names that a manifest may use; those without a loader are known and not served by this version. */
const LOADERS: Record<BackendName, ((home: string) => Promise<Backend>) | undefined> = {
  docker: async (home) => (await import("./docker/backend.ts")).dockerBackend(home),
  smolmachines: undefined,
  bubblewrap: async (home) => (await import("./bubblewrap/backend.ts")).bubblewrapBackend(home),
}

/** Every backend that this version serves; asked by `list`, `stop` and `cleanup` whatever the environment says. */
export function allBackends(home: string): Promise<Backend[]> {
  return Promise.all(Object.values(LOADERS).flatMap((load) => (load ? [load(home)] : [])))
}

/** The backend of that name. Throws a BottleError for one that is unknown or not served yet. */
export async function backendNamed(name: string, home: string): Promise<Backend> {
  if (!Object.hasOwn(LOADERS, name)) {
    throw usageError(`There is no backend "${name}"`, `Use one of ${Object.keys(LOADERS).join(", ")}`)
  }
  const load = LOADERS[name as BackendName]
  if (load) return load(home)
  throw new BottleError({
    what: `The backend ${name} is known and not served by this version yet`,
    next: "Use `--backend docker` or `--backend bubblewrap`, or drop `backend` from the bottle",
  })
}

export interface BackendNeeds {
  backend: BackendName
  /** False: known, and not to be started by this version */
  served: boolean
  /** Empty where nothing is known of what it needs */
  needs: Need[]
}

/** What each backend needs, in the order in which they are preferred. Bounded in time, never throws. */
export function needsOf(home: string, signal?: AbortSignal): Promise<BackendNeeds[]> {
  return Promise.all(
    (Object.keys(LOADERS) as BackendName[]).map(async (backend) => {
      const load = LOADERS[backend]
      if (load) return { backend, served: true, needs: await (await load(home)).needs(signal) }
      return { backend, served: false, needs: [] }
    }),
  )
}
