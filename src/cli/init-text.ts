/** The files that `bottle init` writes. */
import { stringify } from "yaml"
import { wordList } from "../manifest/words.ts"

/** Credentials of the Claude API that are keys of its console, not tokens of a subscription */
const API_KEY_VARIABLE = "ANTHROPIC_API_KEY"

/** What runs in a new bottle: Claude Code with the token of a host variable, or a command without a credential. */
export type Runs = { template: "claude"; tokenEnv: string } | { template: "command"; command: string[] }

/** The bottle for what runs in it. */
export function bottleText(runs: Runs): string {
  return runs.template === "claude" ? claudeBottle(runs.tokenEnv) : commandBottle(runs.command)
}

function claudeBottle(tokenEnv: string): string {
  // The API takes keys in a header of their own and tokens as bearer.
  const scheme = tokenEnv === API_KEY_VARIABLE ? "header:x-api-key" : "bearer"
  return `---
agent_provider: { template: claude }
egress:
  routes:
    # The provider limits this host to the paths it needs; only the credential is said here.
    - host: api.anthropic.com
      auth: { scheme: ${scheme}, token: { env: ${tokenEnv} } }
    # One more host, with what may be asked of it:
    # - host: api.example.com
    #   paths: [/v1/]
    #   methods: [GET, POST]
    #   auth: { scheme: bearer, token: { env: EXAMPLE_TOKEN } }
---
What an agent in this bottle may reach. Nothing else leaves it, and the credentials
stay outside: the gateway adds them to requests. This text is for people.
`
}

function commandBottle(words: string[]): string {
  return `---
agent_provider: { template: command, command: ${wordList(words)} }
# The command reaches nothing until a host is named, with what may be asked of it:
# egress:
#   routes:
#     - host: api.example.com
#       paths: [/v1/]
#       methods: [GET, POST]
#       auth: { scheme: bearer, token: { env: EXAMPLE_TOKEN } }
---
What a command in this bottle may reach. Nothing else leaves it, and credentials stay
outside: the gateway adds them to requests. This text is for people.
`
}

/** An agent with its skills and its prompt. */
export function agentText(agent: { bottle: string; skills: string[]; prompt: string }): string {
  const keys = { bottle: agent.bottle, ...(agent.skills.length === 0 ? {} : { skills: agent.skills }) }
  return `---\n${stringify(keys)}---\n${agent.prompt.trim() === "" ? "" : `${agent.prompt.trim()}\n`}`
}
