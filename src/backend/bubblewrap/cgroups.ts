/** Which limits the kernel enforces for us: where a control group of our own can be made. */
import { join } from "node:path"
import type { Limits } from "../../manifest/types.ts"
import { isWritable, type Machine, systemText } from "../../runtime/machine.ts"

export interface LimitFolders {
  /** Version of the hierarchy; 0 when none is mounted where it belongs */
  version: 0 | 1 | 2
  /** Folder, absolute, in which a control group can be made, by limit; a limit without one is not enforced */
  folders: Partial<Record<keyof Limits, string>>
  /** Controllers of version 2 that the folder does not hand to its children yet, and may */
  unhanded: string[]
}

/** Every limit with its controller, of the same name in both versions */
const CONTROLLERS: Record<keyof Limits, string> = { memory: "memory", pids: "pids", cpus: "cpu" }

const MOUNT = "/sys/fs/cgroup"

/**
 * Asks files alone, and starts nothing. The group nearest to our own wins: whatever limit was put on us holds for our
 * bottles too.
 */
export function limitFolders(machine: Machine): LimitFolders {
  const mine = ownGroups(systemText(machine, "/proc/self/cgroup") ?? "")
  if (systemText(machine, `${MOUNT}/cgroup.controllers`) !== undefined) {
    return { version: 2, ...foldersV2(machine, mine.get("") ?? "/") }
  }
  const folders: LimitFolders["folders"] = {}
  for (const [limit, controller] of entries()) {
    const mount = join(MOUNT, controller)
    if (systemText(machine, `${mount}/cgroup.procs`) === undefined) continue
    const found = upwards(mine.get(controller) ?? "/").map((group) => join(machine.root, mount, group))
    const folder = found.find(isOurs)
    if (folder !== undefined) folders[limit] = folder
  }
  return { version: Object.keys(folders).length > 0 || hasV1(machine) ? 1 : 0, folders, unhanded: [] }
}

/** Where control groups are mounted, one folder per hierarchy that limits are looked for in. */
export function hierarchies(machine: Machine): string[] {
  const mounts = [MOUNT, ...Object.values(CONTROLLERS).map((controller) => join(MOUNT, controller))]
  return mounts
    .filter((mount) => systemText(machine, `${mount}/cgroup.procs`) !== undefined)
    .map((mount) => join(machine.root, mount))
}

/**
 * Version 2 hands a controller to the children of a group only where its `cgroup.subtree_control` names it, and a
 * process may be moved by whoever may write the `cgroup.procs` of a common ancestor (kernel, cgroup-v2, "Delegation").
 * A process is in one group of it, so that one folder has to serve for all limits.
 */
function foldersV2(machine: Machine, own: string): Pick<LimitFolders, "folders" | "unhanded"> {
  let best: Pick<LimitFolders, "folders" | "unhanded"> = { folders: {}, unhanded: [] }
  for (const group of upwards(own)) {
    const path = join(MOUNT, group)
    const folder = join(machine.root, path)
    if (!isOurs(folder)) continue
    const handed = words(systemText(machine, `${path}/cgroup.subtree_control`))
    const more = mayHand(machine, path) ? words(systemText(machine, `${path}/cgroup.controllers`)) : []
    const folders: LimitFolders["folders"] = {}
    const unhanded: string[] = []
    for (const [limit, controller] of entries()) {
      if (!handed.includes(controller) && !more.includes(controller)) continue
      folders[limit] = folder
      if (!handed.includes(controller)) unhanded.push(controller)
    }
    if (Object.keys(folders).length > Object.keys(best.folders).length) best = { folders, unhanded }
  }
  return best
}

/**
 * A group with processes of its own hands no memory to children ("No Internal Process Constraint"), and those
 * processes are not ours to move. The root is exempt, and the only one without a `cgroup.type`.
 */
function mayHand(machine: Machine, path: string): boolean {
  if (!isWritable(join(machine.root, path, "cgroup.subtree_control"))) return false
  if (systemText(machine, `${path}/cgroup.type`) === undefined) return true
  return systemText(machine, `${path}/cgroup.procs`) === ""
}

/** From the group itself to the top. */
function upwards(group: string): string[] {
  const paths = [""]
  for (const part of group.split("/").filter((one) => one !== "")) paths.unshift(join(paths[0]!, part))
  return paths
}

/** A group in which this user may make another and put processes. */
function isOurs(folder: string): boolean {
  return isWritable(folder) && isWritable(join(folder, "cgroup.procs"))
}

function words(text = ""): string[] {
  return text.split(/\s+/).filter((word) => word !== "")
}

/** Group by controller; the hierarchy of version 2 has the empty name (cgroups(7), /proc/pid/cgroup). */
function ownGroups(text: string): Map<string, string> {
  const groups = new Map<string, string>()
  for (const line of text.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    for (const name of controllers.split(",")) groups.set(name, path)
  }
  return groups
}

function hasV1(machine: Machine): boolean {
  return systemText(machine, `${MOUNT}/pids/cgroup.procs`) !== undefined
}

function entries() {
  return Object.entries(CONTROLLERS) as [keyof Limits, string][]
}
