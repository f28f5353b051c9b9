/** The daemons init knows: order of start, the user each runs as, and what it may see. */

export interface DaemonSpec {
  name: string
  /** User and group id inside the gateway, one per daemon */
  uid: number
  /** Environment of its own; it sees nothing else */
  env: Record<string, string>
}

export const DAEMONS: readonly DaemonSpec[] = [{ name: "egress", uid: 9099, env: {} }]

/** What BOTTLE_SIDECAR_DAEMONS selects. */
export interface Selection {
  daemons: DaemonSpec[]
  /** Names nobody knows, told and ignored */
  unknown: string[]
}

/**
 * Reads the comma-separated list; the order of the table is kept. Unset means every daemon, empty means none.
 */
export function selectDaemons(list: string | undefined): Selection {
  if (list === undefined) return { daemons: [...DAEMONS], unknown: [] }
  const names = list
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "")
  return {
    daemons: DAEMONS.filter((daemon) => names.includes(daemon.name)),
    unknown: names.filter((name) => !DAEMONS.some((daemon) => daemon.name === name)),
  }
}
