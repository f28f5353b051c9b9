/** Which limits the kernel enforces for us: where a control group of our own can be made. */
import { join } from "node:path"
import type { Limits } from "../../manifest/types.ts"
import { isWritable, type Machine, systemText } from "../../runtime/machine.ts"

export interface LimitFolders {
  /** Version of the hierarchy; 0 when none is mounted where it belongs */
  version: 0 | 1 | 2
  /** Folder, absolute, in which a control group can be made, by limit; a limit without one is not enforced */
  folders: Partial<Record<keyof Limits, string>>
}

/** Every limit, with its controller in version 2 and 1 */
const CONTROLLERS: Record<keyof Limits, { v2: string; v1: string }> = {
  memory: { v2: "memory", v1: "memory" },
  pids: { v2: "pids", v1: "pids" },
  cpus: { v2: "cpu", v1: "cpu" },
}

const MOUNT = "/sys/fs/cgroup"

/** Asks files alone, and starts nothing. */
export function limitFolders(machine: Machine): LimitFolders {
  const mine = ownGroups(systemText(machine, "/proc/self/cgroup") ?? "")
  if (systemText(machine, `${MOUNT}/cgroup.controllers`) !== undefined) {
    return { version: 2, folders: foldersV2(machine, mine.get("") ?? "/") }
  }
  const folders: LimitFolders["folders"] = {}
  for (const [limit, { v1 }] of entries()) {
    const mount = join(MOUNT, v1)
    if (systemText(machine, `${mount}/cgroup.procs`) === undefined) continue
    const found = [...ancestors(mine.get(v1) ?? "/")].map((group) => join(machine.root, mount, group))
    const folder = found.find(isOurs)
    if (folder !== undefined) folders[limit] = folder
  }
  return { version: Object.keys(folders).length > 0 || hasV1(machine) ? 1 : 0, folders }
}

/**
 * Version 2 hands a controller to the children of a group only where its `cgroup.subtree_control` names it, and a
 * process may be moved by whoever may write the `cgroup.procs` of a common ancestor (kernel, cgroup-v2, "Delegation").
 */
function foldersV2(machine: Machine, own: string): LimitFolders["folders"] {
  const folders: LimitFolders["folders"] = {}
  for (const group of ancestors(own)) {
    const path = join(MOUNT, group)
    if (!isOurs(join(machine.root, path))) continue
    const handed = (systemText(machine, `${path}/cgroup.subtree_control`) ?? "").split(" ")
    for (const [limit, { v2 }] of entries()) {
      if (handed.includes(v2)) folders[limit] ??= join(machine.root, path)
    }
  }
  return folders
}

/** From the top down to the group itself. */
function* ancestors(group: string): Generator<string> {
  let path = "/"
  yield path
  for (const part of group.split("/").filter((one) => one !== "")) {
    path = join(path, part)
    yield path
  }
}

/** A group in which this user may make another and put processes. */
function isOurs(folder: string): boolean {
  return isWritable(folder) && isWritable(join(folder, "cgroup.procs"))
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
  return Object.entries(CONTROLLERS) as [keyof Limits, { v2: string; v1: string }][]
}
