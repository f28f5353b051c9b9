/** Processes that a command has begun, found by what they are. */
import { readdirSync, readFileSync } from "node:fs"

/** The process below `ancestor` whose command line fits, as soon as there is one. Arguments are separated by spaces. */
export async function processBelow(ancestor: number, command: RegExp): Promise<number> {
  for (;;) {
    const found = below(ancestor).find((pid) => command.test(commandOf(pid)))
    if (found !== undefined) return found
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function below(ancestor: number): number[] {
  const children = Map.groupBy(
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number),
    parentOf,
  )
  const found = [...(children.get(ancestor) ?? [])]
  for (const pid of found) found.push(...(children.get(pid) ?? []))
  return found
}

function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    // proc(5): the parent is the second field behind the name, which may hold anything.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
  } catch {
    return -1
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim()
  } catch {
    return ""
  }
}
