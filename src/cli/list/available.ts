/** `bottle list available`: the agents that can be started, and those that cannot, with the reason. */
import type { Manifests } from "../../manifest/load.ts"
import type { AgentSummary } from "../../manifest/types.ts"
import { showable } from "../../policy/denial.ts"
import { columns, isTerminal, paint, print, tell } from "../../runtime/output.ts"
import { errorText } from "../error-text.ts"
import { aligned } from "../table.ts"

/**
 * Prints the agents: a table on a terminal, tab-separated `agent bottle origin state` lines into a pipe, an array for
 * `json`. The faults of broken ones go to stderr.
 */
export function listAvailable(manifests: Manifests, format: "text" | "json"): void {
  const agents = manifests.agents()
  if (format === "json") {
    print(JSON.stringify(agents.map(asData), null, 2))
    return
  }
  if (isTerminal("stdout")) printTable(agents)
  else for (const agent of agents) print(asLine(agent))
  // Agents of one broken bottle share its fault.
  const faults = new Set(agents.flatMap(({ broken }) => (broken === undefined ? [] : [errorText(broken)])))
  for (const fault of faults) tell(`\n${fault}`)
  if (agents.length === 0) tell("There are no agents yet. Make the first one with: bottle init")
}

function printTable(agents: AgentSummary[]): void {
  const colour = paint("stdout")
  if (agents.length === 0) return
  const rows = agents.map(({ name, origin, agent }) => [
    agent === undefined ? colour.bad(name) : colour.name(name),
    agent?.bottle ?? colour.bad("-"),
    origin === "repo" ? colour.warn("repo") : "home",
    agent === undefined ? "cannot be used, see below" : aboutOf(agent.description, agent.prompt),
  ])
  const head = ["AGENT", "BOTTLE", "FROM"].map(colour.dim)
  for (const line of aligned([[...head, "ABOUT"], ...rows], columns("stdout"), colour.dim)) print(line)
}

/** What an agent is for, in one line: its description, else how its prompt begins. */
export function aboutOf(description: string, prompt: string): string {
  const line = description.trim() === "" ? (prompt.split("\n")[0] ?? "") : description.trim().split("\n")[0]!
  return showable(line.replace(/^#+\s*/, ""))
}

function asLine({ name, origin, agent }: AgentSummary): string {
  return [name, agent?.bottle ?? "-", origin, agent === undefined ? "broken" : "ok"].join("\t")
}

function asData({ name, file, origin, agent, broken }: AgentSummary) {
  return {
    name,
    file,
    origin,
    bottle: agent?.bottle ?? null,
    description: agent === undefined ? null : showable(agent.description),
    error: broken === undefined ? null : { what: broken.what, why: broken.why, next: broken.next },
  }
}
