/**
 * Makes what a program of another user is given reachable for it. bwrap looks its sources up by path, and a role of
 * root's has no way through root's folders: so root's keeper shows them at a place of its own, seen by nobody but its
 * children. An ordinary user's programs are that user's own and reach everything by its name.
 */
import { lstatSync, mkdirSync, statSync, writeFileSync } from "node:fs"
import { type MountNamespace, ownMounts } from "../../src/runtime/mount-namespace.ts"

/** Folders that every distribution has, and few programs run from. */
const PLACES = ["/media", "/mnt", "/srv"]
/** Room for the names of some dozen sources, in bytes. */
const BYTES = 256 * 1024

/** The path under which a program started by us finds that path of the host. */
export type Reach = (path: string) => string

/** `sources` are all paths that will ever be asked for. Throws when the kernel refuses the mounts. */
export function reachable(sources: readonly string[], uid = process.getuid?.()): Reach {
  if (uid !== 0) return (path) => path
  const place = PLACES.find(
    (folder) => isFolder(folder) && !sources.some((path) => path.startsWith(`${folder}/`)),
  )
  if (place === undefined)
    throw new Error(`none of ${PLACES.join(", ")} is free to show the bottle's parts at`)
  const mounts = ownMounts()
  mounts.memory(place, BYTES)
  const shown = new Map<string, string>()
  return (path) => {
    const known = shown.get(path)
    if (known !== undefined) return known
    const at = `${place}/${shown.size}`
    show(mounts, path, at)
    shown.set(path, at)
    return at
  }
}

function show(mounts: MountNamespace, path: string, at: string): void {
  if (statSync(path).isDirectory()) mkdirSync(at)
  else writeFileSync(at, "")
  mounts.bind(path, at)
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}
