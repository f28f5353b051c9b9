/** Makes and removes the control groups of one bottle. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { BottleError, reasonOf } from "../../runtime/error.ts"
import { type Machine, thisMachine } from "../../runtime/machine.ts"
import { hierarchies } from "./cgroups.ts"
import type { GroupWrite, LimitPlan } from "./limits.ts"

/** How long the last processes of a group may take to go, in milliseconds */
const EMPTY_WITHIN_MS = 2000
/** Pause between two looks at a group that is not empty yet, in milliseconds; version 1 tells nobody */
const LOOK_EVERY_MS = 5
/** Groups below each other that a search goes down; systemd's own are half as deep */
const DEPTH_MAX = 16

/**
 * Makes the groups and writes their limits; hands back their folders, absolute. Throws when one cannot be made as the
 * preflight said, and then leaves none behind.
 */
export function makeCgroups(plan: LimitPlan, identity: string): string[] {
  const made: string[] = []
  let at = ""
  try {
    for (const { parent, hand, writes } of plan.groups) {
      at = parent
      if (hand.length > 0) {
        writeFileSync(join(parent, "cgroup.subtree_control"), hand.map((name) => `+${name}`).join(" "))
      }
      at = join(parent, nameOf(identity))
      makeGroup(at)
      made.push(at)
      for (const write of writes) writeLimit(at, write)
    }
    return made
  } catch (error) {
    for (const folder of made) removed(folder)
    throw new BottleError({
      what: "the limits of the bottle cannot be enforced",
      why: `${at}: ${reasonOf(error)}`,
      next: "Take `limits` out of the bottle, or start it where control groups may be made",
      cause: error,
    })
  }
}

/**
 * Ends what is left in the bottle's groups and removes them. Without `folders` it looks for them by name. Throws when
 * one stays.
 */
export async function removeCgroups(
  identity: string,
  folders: readonly string[] = findCgroups(identity),
): Promise<void> {
  const until = Date.now() + EMPTY_WITHIN_MS
  for (const folder of folders) {
    if (basename(folder) !== nameOf(identity)) throw new Error(`${folder} is no group of ${identity}`)
    while (!removed(folder)) {
      if (Date.now() > until) {
        throw new BottleError({
          what: `the control group of ${identity} is still in use`,
          why: `processes ${membersOf(folder).join(", ") || "unknown"} are in ${folder}`,
          next: `End them, then run \`bottle cleanup\``,
        })
      }
      killAll(folder)
      await delay(LOOK_EVERY_MS)
    }
  }
}

/** Folders of the bottle's groups in all hierarchies, made by this user. */
function findCgroups(identity: string, machine: Machine = thisMachine()): string[] {
  const found = new Set<string>()
  const look = (folder: string, depth: number) => {
    for (const name of foldersIn(folder)) {
      const path = join(folder, name)
      if (name === nameOf(identity) && statSync(path).uid === machine.uid) found.add(path)
      else if (depth < DEPTH_MAX) look(path, depth + 1)
    }
  }
  for (const hierarchy of hierarchies(machine)) look(hierarchy, 0)
  return [...found]
}

function nameOf(identity: string): string {
  return `bottle-${identity}`
}

/** One that an ended session of the same bottle left is taken over when nothing is in it. */
function makeGroup(folder: string): void {
  try {
    mkdirSync(folder)
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error
    const members = membersOf(folder)
    if (members.length > 0) throw new Error(`processes ${members.join(", ")} are in it`)
  }
}

/** Never creates the file: an ordinary one in its place would be no limit. */
function writeLimit(folder: string, { file, text, optional }: GroupWrite): void {
  try {
    writeFileSync(join(folder, file), text, { flag: "r+" })
  } catch (error) {
    if (!(optional === true && codeOf(error) === "ENOENT")) throw error
  }
}

function removed(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    const code = codeOf(error)
    if (code === "ENOENT") return true
    if (code === "EBUSY") return false
    throw error
  }
}

/** Version 2 ends a whole group at once (since 5.14); elsewhere each member is. */
function killAll(folder: string): void {
  try {
    writeFileSync(join(folder, "cgroup.kill"), "1", { flag: "r+" })
  } catch {
    for (const pid of membersOf(folder)) {
      try {
        process.kill(pid, "SIGKILL")
      } catch {
        // It went by itself.
      }
    }
  }
}

/** Process ids; the kernel writes 0 for one of another pid namespace, and a signal to 0 would be one to ourselves. */
function membersOf(folder: string): number[] {
  try {
    return readFileSync(join(folder, "cgroup.procs"), "utf8")
      .split("\n")
      .map(Number)
      .filter((pid) => pid > 1)
  } catch {
    return []
  }
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
  } catch {
    return []
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}
