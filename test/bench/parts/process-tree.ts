/** What a process and everything below it hold and use, as /proc tells it (proc(5)). */
import { readdirSync, readFileSync } from "node:fs"

/** Clock ticks a second, as Linux tells them to programs (sysconf(_SC_CLK_TCK)) */
const TICKS = 100

/** The process and all that it started, in no order. */
export function descendants(root: number): number[] {
  const parents = new Map<number, number[]>()
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue
    const parent = Number(statOf(Number(name))?.[1])
    parents.set(parent, [...(parents.get(parent) ?? []), Number(name)])
  }
  const found = [root]
  for (const pid of found) found.push(...(parents.get(pid) ?? []))
  return found
}

/** Processor time that they have used so far, in seconds. */
export function cpuSeconds(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const fields = statOf(pid)
    return Number(fields?.[11] ?? 0) + Number(fields?.[12] ?? 0)
  })
  return ticks.reduce((sum, one) => sum + one, 0) / TICKS
}

/** Memory in bytes, with what is shared divided among those who share it. */
export function proportionalBytes(pids: readonly number[]): number {
  const parts = pids.map((pid) => {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8")
    return Number(/^Pss: +(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024
  })
  return parts.reduce((sum, one) => sum + one, 0)
}

/** The fields of its stat from the third on: the second, its name, may hold anything. */
function statOf(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8")
    return text.slice(text.lastIndexOf(")") + 2).split(" ")
  } catch {
    return undefined
  }
}
