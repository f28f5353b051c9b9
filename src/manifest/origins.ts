/** Where manifests come from, and whose word counts: bottles of the user alone, agents of the repository too. */
import { join } from "node:path"
import { BottleError } from "../runtime/error.ts"
import { exists, isBelow, realPath, scanFolder } from "./folder.ts"
import { checkHomeFolder, type Origin } from "./read.ts"

export interface Origins {
  /** Files of bottles by name */
  bottles: Map<string, string>
  /** Files of agents by name; two when home and repository have one of the same name */
  agents: Map<string, { file: string; origin: Origin }[]>
}

export interface Places {
  /** $BOTTLE_HOME, absolute */
  home: string
  /** Folder the user called us from, absolute */
  cwd: string
  /** The user's home folder, absolute */
  userHome: string
}

/** Finds the files. What is ignored is said in `warnings`. */
export function findManifests(places: Places, warnings: string[]): Origins {
  const { home } = places
  const folders = { bottles: join(home, "bottles"), agents: join(home, "agents") }
  for (const folder of [home, folders.bottles, folders.agents]) {
    if (realPath(folder) !== undefined) checkHomeFolder(folder)
  }
  const agents = new Map<string, { file: string; origin: Origin }[]>()
  for (const [name, file] of scanFolder(folders.agents, warnings))
    agents.set(name, [{ file, origin: "home" }])
  for (const [name, file] of repoAgents(places, warnings)) {
    agents.set(name, [...(agents.get(name) ?? []), { file, origin: "repo" }])
  }
  return { bottles: scanFolder(folders.bottles, warnings), agents }
}

/** Agents that the current folder ships. */
function repoAgents({ home, cwd, userHome }: Places, warnings: string[]): Map<string, string> {
  const none = new Map<string, string>()
  const here = realPath(cwd)
  if (here === undefined) return none
  const shipped = join(here, ".bottle")
  // The user's own home is no repository: what lies there is theirs already.
  if (here === realPath(userHome) || realPath(shipped) === realPath(home)) return none
  if (exists(join(shipped, "bottles"))) {
    warnings.push(
      `${join(shipped, "bottles")} is ignored: bottles load from ${join(home, "bottles")} alone, ` +
        "so that a repository cannot say where credentials go",
    )
  }
  const folder = join(shipped, "agents")
  if (!exists(folder)) return none
  const real = realPath(folder)
  if (real === undefined || !isBelow(real, here)) {
    throw new BottleError({
      what: `${folder} is a link that leaves the repository`,
      why: "what a repository ships must lie in the repository",
      next: "Remove the link, or call bottle from another folder",
    })
  }
  return scanFolder(real, warnings)
}

/** What the earlier system leaves in a home folder or in the current one. */
const EARLIER_FILES = ["bot-bottle.json", "claude-bottle.json"]

/** The way over for a user of the earlier system, who has no manifests of this one yet. */
export function earlierSystem({ home, cwd, userHome }: Places): BottleError | undefined {
  if (exists(home)) return undefined
  const folder = join(userHome, ".bot-bottle")
  if (exists(folder)) {
    return new BottleError({
      what: `There are manifests in ${folder}, and none in ${home} yet`,
      why: "the format has changed in places; each old key gives an error with its new spelling",
      next: `Run: mkdir -m 700 ${home} && cp -r ${folder}/bottles ${folder}/agents ${home}/\nthen: bottle list available`,
    })
  }
  for (const file of [userHome, cwd].flatMap((place) => EARLIER_FILES.map((name) => join(place, name)))) {
    if (!exists(file)) continue
    return new BottleError({
      what: `There is a manifest in ${file}, and none in ${home} yet`,
      why: "agents and bottles are Markdown files of their own now, not one JSON file",
      next: `Run: bottle init\nthen bring each bottle of ${file} over to a file in ${join(home, "bottles")}`,
    })
  }
  return undefined
}
