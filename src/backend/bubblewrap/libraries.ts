/** The libraries that come with a program instead of with the system: those in folders that the program names. */
import { readdirSync, realpathSync, statSync } from "node:fs"
import { dirname, isAbsolute, join, resolve } from "node:path"
import { type ElfFile, readElf } from "./elf.ts"

export interface Library {
  /** Absolute path under which the loader finds it on the host */
  path: string
  /** The same without symbolic links */
  real: string
  /** True when it is found from where the program is ($ORIGIN), false when by its absolute path */
  relative: boolean
}

/** Libraries followed in all; a program that brings more is not a tool of one file. */
const LIBRARIES_MAX = 500

/** All that the given programs and libraries need, and what that needs in turn, outside of `isSystem`. */
export function librariesOf(roots: readonly string[], isSystem: (path: string) => boolean): Library[] {
  const found = new Map<string, Library>()
  const inherited: Folder[] = []
  const pending = roots.flatMap((path) => {
    const elf = readElf(path)
    return elf === undefined ? [] : [{ elf, path, relative: true, inherited }]
  })
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { elf } = next
    // DT_RPATH of a program counts for its libraries too; DT_RUNPATH does not, and then finds nothing more here.
    const folders = [...searchFolders(elf, next.path, next.relative), ...next.inherited]
    for (const name of elf.needed) {
      const library = lookUp(name, folders)
      if (library === undefined || found.has(library.path) || isSystem(library.real)) continue
      if (found.size >= LIBRARIES_MAX) return [...found.values()]
      // A program may name any file of any folder, a key among them, and none but libraries are brought along for it.
      const own = readElf(library.path)
      if (own === undefined) continue
      found.set(library.path, library)
      pending.push({ elf: own, path: library.path, relative: library.relative, inherited: folders })
    }
  }
  return [...found.values()]
}

/** Shared libraries that stand in a folder, absolute. */
export function sharedObjectsIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(".so"))
      .map((name) => join(folder, name))
  } catch {
    return []
  }
}

interface Folder {
  path: string
  relative: boolean
}

function searchFolders(elf: ElfFile, path: string, relative: boolean): Folder[] {
  const origin = dirname(path)
  return elf.searchPath.flatMap((written) => {
    const replaced = written.replaceAll(/\$ORIGIN\b|\$\{ORIGIN\}/g, () => origin)
    // $LIB and $PLATFORM are known to the loader alone.
    if (replaced.includes("$") || !isAbsolute(replaced)) return []
    return [{ path: resolve(replaced), relative: relative && replaced !== written }]
  })
}

function lookUp(name: string, folders: readonly Folder[]): Library | undefined {
  // A name with a slash is a path and not searched for; such programs do not move.
  if (name.includes("/")) return undefined
  for (const folder of folders) {
    const path = join(folder.path, name)
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) {
      return { path, real: realpathSync(path), relative: folder.relative }
    }
  }
  return undefined
}
