/** The bottles of this home as Docker sees them, by one call. */
import type { ActiveBottle } from "../types.ts"
import { docker } from "./docker.ts"
import { LABEL_AGENT, LABEL_DAEMONS, LABEL_HOME, LABEL_IDENTITY, LABEL_ROLE, LABEL_STARTED } from "./names.ts"

const COLUMNS = [LABEL_IDENTITY, LABEL_ROLE, LABEL_AGENT, LABEL_STARTED, LABEL_DAEMONS]

export async function listBottles(home: string, signal?: AbortSignal): Promise<ActiveBottle[]> {
  const format = [...COLUMNS.map((label) => `{{.Label "${label}"}}`), "{{.State}}"].join("\t")
  const text = await docker(
    "list containers",
    ["ps", "--all", "--filter", `label=${LABEL_HOME}=${home}`, "--format", format],
    signal ? { signal } : {},
  )
  const bottles = new Map<
    string,
    { agent: string; startedAt: string; daemons: string; states: Map<string, string> }
  >()
  for (const line of text.split("\n")) {
    const [identity, role, agent = "", startedAt = "", daemons = "", state = ""] = line.split("\t")
    if (!identity || !role) continue
    const bottle = bottles.get(identity) ?? { agent, startedAt, daemons, states: new Map() }
    bottle.states.set(role, state)
    bottles.set(identity, bottle)
  }
  return [...bottles]
    .map(([identity, { agent, startedAt, daemons, states }]): ActiveBottle => {
      const agentRuns = states.get("agent") === "running"
      const gatewayRuns = states.get("sidecars") === "running"
      const services = [agentRuns ? "agent" : "", ...(gatewayRuns ? daemons.split(",") : [])].filter(
        (s) => s !== "",
      )
      const status = agentRuns && gatewayRuns ? "running" : agentRuns ? "broken" : "ended"
      return { backend: "docker", identity, agent, startedAt, services, status }
    })
    .sort((a, b) => a.startedAt.localeCompare(b.startedAt))
}
