/** One agent's file, read and checked. */
import { checked } from "./check.ts"
import type { KeyPath } from "./fault.ts"
import { type Frontmatter, parseFrontmatter } from "./frontmatter.ts"
import { modernise } from "./legacy.ts"
import type { ManifestText, Origin } from "./read.ts"
import { says } from "./saying.ts"
import { agentFile, bottleFile } from "./schema.ts"
import type { Agent, GitUser } from "./types.ts"

export interface ReadAgent {
  agent: Agent
  /** Line of a key in the file, from 1 */
  lineOf: Frontmatter["lineOf"]
}

/** Reads an agent. Throws ManifestFaults. */
export function readAgent(
  name: string,
  file: string,
  origin: Origin,
  { text, hash }: ManifestText,
): ReadAgent {
  const { data, body, lineOf } = parseFrontmatter(text)
  // Only git_user had another place in agents; their other keys never held policy.
  const { git_user: _, ...current } = data
  const legacy =
    "git_user" in data
      ? modernise({ git_user: data.git_user }).faults.map((fault) => ({ ...fault, line: lineOf(fault.path) }))
      : []
  const file_ = checked(agentFile, current, lineOf, legacy, policyHint)
  const user = file_.git?.user
  const gitUser: GitUser = {}
  if (user?.name) gitUser.name = user.name
  if (user?.email) gitUser.email = user.email
  return {
    agent: {
      name,
      file,
      origin,
      hash,
      bottle: file_.bottle,
      skills: [...new Set(file_.skills ?? [])],
      gitUser,
      prompt: body,
      description: typeof file_.description === "string" ? file_.description : "",
    },
    lineOf,
  }
}

const BOTTLE_KEYS = Object.keys(bottleFile.shape)
const OLD_BOTTLE_KEYS = ["runtime", "ssh", "tokens", "cred_proxy", "egress_proxy", "git-gate"]

/** An agent may come with a repository, so whatever reaches hosts and credentials belongs to the user's bottles. */
function policyHint(path: KeyPath): string | undefined {
  const key = String(path[0])
  const policy = path.length === 1 && (BOTTLE_KEYS.includes(key) || OLD_BOTTLE_KEYS.includes(key))
  const remotes = key === "git" && ["remotes", "repos"].includes(String(path[1]))
  if (!policy && !remotes) return undefined
  return says("an agent carries no policy", "Move it to the bottle that the agent names")
}
