/** Programs on the host that agents, their people, or parts of bottle use; none is needed for every bottle. */
import { met, worse } from "../../backend/need.ts"
import { installCommand } from "../../backend/packages.ts"
import type { Need } from "../../backend/types.ts"
import { type Machine, programOnPath } from "../../runtime/machine.ts"
import { run } from "../../runtime/spawn.ts"

/** An agent that does not say its version within this is named without one, in milliseconds. */
const WITHIN_MS = 1000
const AGENTS = ["claude", "codex"]

export async function programNeeds(machine: Machine, signal: AbortSignal): Promise<Need[]> {
  return [
    await agentsNeed(machine, signal),
    toolNeed(machine, "tmux", "tmux", "to have several agents side by side; not for leaving one (ctrl-\\ d)"),
    toolNeed(machine, "git", "git", "for agents that bubblewrap runs with the tools of this machine"),
    toolNeed(
      machine,
      "ssh",
      { apt: "openssh-client", dnf: "openssh-clients", pacman: "openssh", apk: "openssh-client" },
      "to fetch from git servers",
    ),
    toolNeed(
      machine,
      "gitleaks",
      { apt: "gitleaks", pacman: "gitleaks", apk: "gitleaks", brew: "gitleaks" },
      "for the git gate, which this version does not serve yet",
    ),
  ]
}

/** Images of docker have their own; bubblewrap runs those of the host. */
async function agentsNeed(machine: Machine, signal: AbortSignal): Promise<Need> {
  const name = "agents"
  const paths = AGENTS.flatMap((agent) => {
    const path = programOnPath(agent, machine.env)
    return path === undefined ? [] : [{ agent, path }]
  })
  if (paths.length === 0) {
    const found = `no ${AGENTS.join(", no ")}; bubblewrap runs the host's, docker's images have claude`
    return worse(name, found, "npm install -g @anthropic-ai/claude-code")
  }
  const said = await Promise.all(paths.map(({ agent, path }) => versionOf(agent, path, signal)))
  return met(name, said.join(", "))
}

async function versionOf(agent: string, path: string, signal: AbortSignal): Promise<string> {
  try {
    // Not where we were called from: what lies there is not to have a say.
    const asked = await run([path, "--version"], { cwd: "/", timeoutMs: WITHIN_MS, killGraceMs: 0, signal })
    const version = asked.code === 0 ? /\d+\.\d+\S*/.exec(asked.stdout)?.[0] : undefined
    return version === undefined ? `${agent} (does not say its version)` : `${agent} ${version}`
  } catch {
    return `${agent} (does not say its version)`
  }
}

function toolNeed(
  machine: Machine,
  tool: string,
  packages: Parameters<typeof installCommand>[1],
  use: string,
): Need {
  const path = programOnPath(tool, machine.env)
  return path === undefined
    ? worse(tool, `not found; ${use}`, installCommand(machine, packages))
    : met(tool, path)
}
