/** Where bottle keeps what it has: its home, the disk below it, and the manifests in it. */
import { existsSync, statSync } from "node:fs"
import { dirname } from "node:path"
import { met, unmet, worse } from "../../backend/need.ts"
import { asRoot } from "../../backend/packages.ts"
import type { Need } from "../../backend/types.ts"
import { type LoadOptions, loadManifests, type Manifests } from "../../manifest/load.ts"
import { BottleError } from "../../runtime/error.ts"
import { freeBytes, isWritable, type Machine } from "../../runtime/machine.ts"
import { shortPath } from "../manifests.ts"

/** A ledger may grow to 512 MiB, and work that is kept comes on top; below the least not one bottle is safe, in bytes */
const DISK_GOOD = 2 * 1024 ** 3
const DISK_MIN = 256 * 1024 ** 2

export function folderNeeds(places: LoadOptions, machine: Machine): Need[] {
  const home = homeNeed(places.home, machine)
  return [home, diskNeed(places.home), ...(home.ok ? [manifestsNeed(places)] : [])]
}

function homeNeed(home: string, machine: Machine): Need {
  const shown = shortPath(home)
  const place = nearest(home)
  const { uid, isFolder } = about(place)
  if (!isFolder)
    return unmet("home", `${shortPath(place)} is not a folder`, `mv ${word(place)} ${word(place)}.old`)
  if (isWritable(place)) return met("home", place === home ? shown : `${shown}, made when it is needed`)
  const found = `${shortPath(place)} cannot be written`
  if (place !== home)
    return unmet("home", found, asRoot(machine, `install -d -m 700 -o "$USER" ${word(home)}`))
  if (uid !== machine.uid) return unmet("home", found, asRoot(machine, `chown -R "$USER" ${word(home)}`))
  return unmet("home", found, `chmod u+rwx ${word(home)}`)
}

/** The folder itself, or what of its path is there. */
function nearest(path: string): string {
  return existsSync(path) || path === dirname(path) ? path : nearest(dirname(path))
}

function about(path: string): { uid: number; isFolder: boolean } {
  const found = statSync(path, { throwIfNoEntry: false })
  return { uid: found?.uid ?? -1, isFolder: found?.isDirectory() === true }
}

function diskNeed(home: string): Need {
  const free = freeBytes(nearest(home))
  if (free === undefined) return worse("disk", "its free room cannot be asked")
  const found = `${(free / 1024 ** 3).toFixed(1)} GiB free`
  if (free < DISK_MIN) return unmet("disk", found, "bottle cleanup")
  return free < DISK_GOOD ? worse("disk", found, "bottle cleanup") : met("disk", found)
}

function manifestsNeed(places: LoadOptions): Need {
  const name = "manifests"
  const list = "bottle list available"
  try {
    const manifests = loadManifests(places)
    const agents = manifests.agents()
    const bottles = manifests.bottleNames()
    if (agents.length === 0 && bottles.length === 0) return worse(name, "none yet", "bottle init")
    const found = `${counted(bottles.length, "bottle")}, ${counted(agents.length, "agent")}`
    const broken = agents.filter((agent) => agent.broken !== undefined).map((agent) => agent.name)
    if (broken.length > 0) return unmet(name, `${found}; with faults: ${broken.join(", ")}`, list)
    const faulty = bottles.filter((bottle) => !loads(manifests, bottle))
    if (faulty.length === 0) return met(name, found)
    const mend = faulty.map((bottle) => `bottle edit --bottle ${bottle}`).join("\n")
    return unmet(name, `${found}; with faults: ${faulty.join(", ")}`, mend)
  } catch (error) {
    // The list says the same, whole, and what to do about it.
    if (error instanceof BottleError) return unmet(name, error.what, list)
    throw error
  }
}

function loads(manifests: Manifests, bottle: string): boolean {
  try {
    manifests.bottle(bottle)
    return true
  } catch (error) {
    if (error instanceof BottleError) return false
    throw error
  }
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`
}

/** A path as one word of a shell. */
function word(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}
