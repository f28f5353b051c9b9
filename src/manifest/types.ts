/** What the manifests say, after loading, `extends` and the trust rules; nothing here is resolved on the host yet. */
import type { TerminalPermission } from "../policy/terminal/permission.ts"
import type { BottleError } from "../runtime/error.ts"

/** Where a value of `env` comes from. */
export type EnvValue =
  | { kind: "literal"; value: string }
  | { kind: "host"; variable: string }
  /** Asked at start, without echo */
  | { kind: "asked"; prompt: string }

/** Where a credential comes from on the host. */
export type TokenSource =
  | { kind: "env"; variable: string }
  | { kind: "file"; path: string }
  | { kind: "command"; argv: string[] }

/** One entry of `egress.routes`. */
export interface BottleRoute {
  /** Lower-case ASCII host, IP literal or `*.suffix` */
  host: string
  /** Path rules as written: prefix, or exact with a leading `=` */
  paths?: string[]
  /** Upper-case methods */
  methods?: string[]
  auth?: { scheme: string; token: TokenSource }
  /** False: bytes pass unseen */
  intercept: boolean
  scheme: "https" | "http"
  /** CIDR ranges of private addresses the host may have */
  private: string[]
  scan?: { on_match: "block" | "propose" | "off" }
  /** `file:line` of the entry, for messages */
  at: string
}

/** Name and mail address that git commits carry; each may be missing. */
export interface GitUser {
  name?: string
  email?: string
}

/** One entry of `git.repos`. */
export interface GitRepo {
  name: string
  /** ssh:// URL of the upstream */
  url: string
  /** Absolute path of the private key on the host */
  identityFile: string
  /** Pinned key of the server: type, space, base64 */
  knownHostKey: string
  /** Patterns of refs that may be pushed, at most one star each; all branches when the manifest names none */
  refs: string[]
  /** False: a push that changes CI definitions waits for a person */
  allowCi: boolean
}

export interface Limits {
  /** As Docker writes it: `4g` */
  memory?: string
  /** Processes and threads */
  pids?: number
  /** Cores, fractions allowed */
  cpus?: number
}

export type ProviderName = "claude" | "codex" | "command"
export type BackendName = "docker" | "smolmachines" | "bubblewrap"

/** A bottle with everything it extends folded in. */
export interface Bottle {
  name: string
  /** Absolute path of its file */
  file: string
  /** Names it was folded from, its own last */
  lineage: string[]
  env: Record<string, EnvValue>
  routes: BottleRoute[]
  git: { user: GitUser; repos: GitRepo[] }
  /** Whether the agent may ask for changes of policy; false unless written, until proposals are served */
  supervise: boolean
  provider: {
    template: ProviderName
    /** Absolute path of the user's own Dockerfile, empty for the template's */
    dockerfile: string
    forwardHostCredentials: boolean
    /** argv of provider `command`; `{prompt}` in a word stands for the text of `--prompt` */
    command: string[]
  }
  backend?: BackendName
  gateway: "native" | "classic"
  /** Whether an agent that a repository ships may run in it */
  repoAgents: boolean
  limits: Limits
  /** What the agent's output may do to the user's terminal beyond its screen */
  terminal: { allow: TerminalPermission[] }
  /** `file:line` of what was said last about a key (`backend`, `env.CI`, `git.repos.app`), for messages */
  at: Record<string, string>
}

export interface Agent {
  name: string
  /** Absolute path of its file */
  file: string
  /** `home`: written by the user; `repo`: came with the current folder */
  origin: "home" | "repo"
  /** SHA-256 of the file, hex: what the user is asked to trust */
  hash: string
  /** Name of the bottle it runs in */
  bottle: string
  skills: string[]
  gitUser: GitUser
  /** System prompt: the body of the file, possibly empty */
  prompt: string
  /** The file's `description`, possibly empty: one line for lists, as written and so not yet fit to be shown */
  description: string
}

/** An agent as lists show it: one that cannot be used is there with the reason. */
export type AgentSummary = { name: string; file: string; origin: Agent["origin"] } & (
  | { agent: Agent; broken?: never }
  | { agent?: never; broken: BottleError }
)
