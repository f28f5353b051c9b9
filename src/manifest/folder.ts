/** Which manifests lie in a folder, by name. */
import { type Dirent, lstatSync, readdirSync, realpathSync } from "node:fs"
import { basename, join, sep } from "node:path"
import { showable } from "../policy/denial.ts"
import { BottleError, reasonOf } from "../runtime/error.ts"
import { nameVerdict } from "./other-fields.ts"
import { saidParts } from "./saying.ts"

/** Manifests in a folder; a repository must not make each start read a million files */
const FILES_MAX = 1000

/** The manifests in a folder: absolute paths by name, sorted. A missing folder is an empty one. */
export function scanFolder(folder: string, warnings: string[]): Map<string, string> {
  const found = new Map<string, string>()
  for (const entry of entriesOf(folder)) {
    // Editors and sync tools leave their own files around, which have names of their own.
    if (entry.name.startsWith(".") || !entry.name.endsWith(".md") || entry.name === "README.md") continue
    const name = basename(entry.name, ".md")
    const fault = nameVerdict(name)
    if (fault !== undefined) {
      const { text, fix } = saidParts(fault)
      const hint = fix === "" ? "" : ` (rename it to ${fix.replace("Write: ", "")}.md)`
      warnings.push(`${showable(join(folder, entry.name))} is left out: ${showable(text)}${showable(hint)}`)
    } else found.set(name, join(folder, entry.name))
  }
  if (found.size > FILES_MAX) {
    throw new BottleError({
      what: `${folder} holds more than ${FILES_MAX} manifests`,
      why: `there are ${found.size}`,
      next: "Move those that are not used elsewhere",
    })
  }
  return found
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw new BottleError({
      what: `Cannot read ${folder}`,
      why: reasonOf(error),
      next: "See that it is a folder and that you may read it",
      cause: error,
    })
  }
}

/** Whether something is there, a broken link included. */
export function exists(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    // What lies behind a folder that we may not enter is nothing to us.
    return false
  }
}

/** The path without links; undefined where there is nothing. */
export function realPath(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}

/** Whether `path` lies below `folder`, both without links. */
export function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}
