/** Which agent to start when none was named. */
import type { AgentSummary } from "../manifest/types.ts"
import { askText, canAsk } from "../runtime/ask.ts"
import { usageError } from "../runtime/error.ts"
import { columns, paint, tell } from "../runtime/output.ts"
import { aboutOf } from "./list/available.ts"
import { aligned } from "./table.ts"

/**
 * The name of the only agent; on a terminal the one the person picks from a numbered list; else an error that lists
 * them (exit status 2). A plain list and a line of text work over any connection and for screen readers.
 */
export async function pickAgent(agents: readonly AgentSummary[]): Promise<string> {
  const [only, ...others] = agents
  if (only === undefined) throw usageError("There are no agents yet", "Make the first one with: bottle init")
  if (others.length === 0) {
    if (only.broken !== undefined) throw only.broken
    return only.name
  }
  const usable = agents.filter((agent) => agent.broken === undefined).map(({ name }) => name)
  if (usable.length === 0) throw only.broken!
  if (!canAsk()) {
    throw usageError(
      "There are several agents, and none was named",
      `Name one, as in: bottle start ${usable[0]}`,
      usable.join("\n"),
    )
  }
  showChoices(agents, usable)
  for (;;) {
    const answer = await askText("Number or name:")
    const picked = chosen(answer, usable)
    if (picked !== undefined) return picked
    if (answer !== "") tell(`There is no "${answer}" in the list; Ctrl-C leaves.`)
  }
}

/** The name that an answer means: its number in the list, the name itself, or the only one that begins with it. */
export function chosen(answer: string, names: readonly string[]): string | undefined {
  if (/^\d{1,4}$/.test(answer)) return names[Number(answer) - 1]
  if (names.includes(answer)) return answer
  const starting = answer === "" ? [] : names.filter((name) => name.startsWith(answer.toLowerCase()))
  return starting.length === 1 ? starting[0] : undefined
}

function showChoices(agents: readonly AgentSummary[], usable: readonly string[]): void {
  const colour = paint("stderr")
  const rows = agents.map(({ name, agent, origin }) => [
    agent === undefined ? colour.bad(" -") : colour.strong(String(usable.indexOf(name) + 1).padStart(2)),
    agent === undefined ? colour.dim(name) : colour.name(name),
    agent === undefined ? colour.bad("broken") : agent.bottle,
    origin === "repo" ? colour.warn("repo") : "",
    agent === undefined ? "" : aboutOf(agent.description, agent.prompt),
  ])
  tell("Which agent?")
  for (const line of aligned(rows, columns("stderr"), colour.dim)) tell(line)
}
