/** Finds the skills an agent names, before anything starts. */
import { readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { didYouMean, listed } from "../manifest/suggest.ts"
import { BottleError } from "../runtime/error.ts"

/**
 * Absolute paths of the skills' folders by name, from `~/.claude/skills`. Throws a BottleError that names all the
 * missing ones at once.
 */
export function findSkills(names: readonly string[], userHome: string): Record<string, string> {
  const root = join(userHome, ".claude", "skills")
  const found: Record<string, string> = {}
  const missing: string[] = []
  for (const name of names) {
    const folder = join(root, name)
    if (isFile(join(folder, "SKILL.md"))) found[name] = folder
    else missing.push(name)
  }
  if (missing.length === 0) return found
  const present = skillsIn(root)
  throw new BottleError({
    what: `Not every skill of the agent is there: ${missing.join(", ")}`,
    why: missing
      .map((name) => `${join(root, name, "SKILL.md")} does not exist${didYouMean(name, present)}`)
      .join("\n"),
    next: `Put the skill there, or take it out of the agent's skills (there are: ${listed(present)})`,
  })
}

/** The names among these whose skill is not there. */
export function missingSkills(names: readonly string[], userHome: string): string[] {
  return names.filter((name) => !isFile(join(userHome, ".claude", "skills", name, "SKILL.md")))
}

/** Names of the skills that are there, sorted. */
export function availableSkills(userHome: string): string[] {
  return skillsIn(join(userHome, ".claude", "skills")).sort()
}

function skillsIn(root: string): string[] {
  try {
    return readdirSync(root).filter((name) => isFile(join(root, name, "SKILL.md")))
  } catch {
    return []
  }
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch {
    return false
  }
}
