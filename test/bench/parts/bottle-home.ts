/** A BOTTLE_HOME with one agent that runs one command on bubblewrap. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"

export const PROJECT = join(import.meta.dirname, "..", "..", "..")

/** The home's path, below `folder`. The agent and its bottle have that name. */
export function plainHome(folder: string, name: string, command: string[]): string {
  const home = join(folder, "bottle")
  for (const part of ["bottles", "agents"]) mkdirSync(join(home, part), { recursive: true })
  const provider = `agent_provider: { template: command, command: ${JSON.stringify(command)} }`
  writeFileSync(join(home, "bottles", `${name}.md`), `---\n${provider}\nbackend: bubblewrap\n---\n`)
  writeFileSync(join(home, "agents", `${name}.md`), `---\nbottle: ${name}\n---\n`)
  return home
}
