/** What a provider tells a backend: declarative, so that a backend applies it without knowing who wrote it. */
import type { SetupCommand } from "../policy/wire/lifeline.ts"
import type { AgentImage } from "../runtime/assets.ts"

/** A file written into the sandbox before it starts. */
export interface ProvisionFile {
  /** Absolute path inside the sandbox */
  path: string
  /** Permission bits */
  mode: number
  content: string
  /** True: only when the bottle is new, so that a resumed one keeps the agent's own version */
  seed: boolean
}

/** A folder of the host copied into the sandbox. */
export interface ProvisionTree {
  /** Absolute path on the host */
  from: string
  /** Absolute path inside the sandbox */
  to: string
}

/** A route the provider needs; it owns the host, a manifest may only narrow it. */
export interface ProviderRoute {
  host: string
  paths: string[]
  methods?: string[]
  /** Scheme and host variable of the credential when the manifest names none */
  auth?: { scheme: string; variable: string }
}

export interface ProvisionPlan {
  /** What runs, for people: `claude 2.1.329`, `command bash` */
  tool: string
  /** Version of the tool, empty when it is not ours to know */
  version: string
  /** Image that the sandbox is built on, on backends that have images */
  image: AgentImage
  /** argv of the agent */
  argv: string[]
  /** Added when a file matching the glob `when` is there */
  resume?: { args: string[]; when: string }
  files: ProvisionFile[]
  trees: ProvisionTree[]
  setup: SetupCommand[]
  env: Record<string, string>
  /** Names in `env` that the preflight does not list, because they are ours and not secret */
  hiddenEnv: string[]
  routes: ProviderRoute[]
  /** What the agent holds in place of a credential, with the hosts it belongs to */
  placeholders: { value: string; hosts: string[] }[]
}

/** What a provider is asked to plan for. */
export interface ProvisionRequest {
  /** System prompt, possibly empty */
  prompt: string
  /** One-shot task; undefined starts an interactive session */
  task?: string
  /** Absolute host paths of skill folders by name */
  skills: Record<string, string>
  remoteControl: boolean
  /** Arguments of the user's own after `--` */
  args: string[]
  /** True when the conversation of an earlier session is to be continued */
  resume: boolean
  /** Workspace, home and CA bundle inside the sandbox */
  sandbox: { workspace: string; home: string; caBundle: string }
  /** argv of `agent_provider.command` */
  command: string[]
  /** Authentication of the provider's own host as the manifest gives it: decides the placeholder's variable */
  auth?: { scheme: string }
  /** What placeholders are derived from: the identity, so that each bottle has its own and a resumed one keeps it */
  placeholderSeed: string
}

export interface Provider {
  name: string
  /** Host whose credential decides what the agent holds in its place; absent when it has none of its own */
  apiHost?: string
  /** Whether a session without a task needs a terminal; otherwise it may have plain pipes */
  needsTerminal: boolean
  /** Throws a usage error for a task that `command` has no place for, and for a place without a task */
  checkTask?(task: string | undefined, command: string[]): void
  plan(request: ProvisionRequest): ProvisionPlan
}
