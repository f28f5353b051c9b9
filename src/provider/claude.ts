/** Claude Code: how it is started, what its home holds beforehand, and which parts of its API it may ask for. */
import { BottleError, usageError } from "../runtime/error.ts"
import { placeholder } from "./placeholder.ts"
import type { Provider, ProviderRoute, ProvisionFile, ProvisionPlan, ProvisionRequest } from "./types.ts"

/** Version that the image installs; flags, files and paths below are those of this version */
export const CLAUDE_VERSION = "2.1.329"

const API_HOST = "api.anthropic.com"

/** What this version asks of its API in a bottle, seen on the wire, and the counting of tokens; all of it exact. */
const PATHS = [
  "=/v1/messages",
  "=/v1/messages/count_tokens",
  "=/api/claude_code/settings",
  "=/api/claude_code/policy_limits",
]

/** What Remote Control asks for besides: the account, whether it may, and the session that a browser joins. */
const REMOTE_CONTROL_PATHS = ["=/api/oauth/profile", "/api/eval/", "=/v1/code/sessions", "/v1/code/sessions/"]

const METHODS = ["GET", "POST"]
/** A joined session is also updated and ended. */
const REMOTE_CONTROL_METHODS = [...METHODS, "PUT", "PATCH", "DELETE"]

/** The host program updates the image, and nothing in it updates or extends itself; faults are the user's to report. */
const ALWAYS = {
  CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL: "1",
  DISABLE_AUTOUPDATER: "1",
  DISABLE_ERROR_REPORTING: "1",
}
/** Remote Control refuses to start with either of these; egress refuses such traffic all the same. */
const QUIET = { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1", DISABLE_TELEMETRY: "1" }

/** The client's two ways to sign in: with the token of a subscription, or with a key of the console. */
interface SignIn {
  scheme: string
  /** Host variable of the credential, and the sandbox's variable of its placeholder */
  variable: "CLAUDE_CODE_OAUTH_TOKEN" | "ANTHROPIC_API_KEY"
  placeholder: string
}

export const claude: Provider = {
  name: "claude",
  apiHost: API_HOST,
  needsTerminal: true,

  plan(request: ProvisionRequest): ProvisionPlan {
    const { sandbox, remoteControl } = request
    const signIn = signInOf(request)
    if (remoteControl) refuseRemoteControl(request, signIn)
    const promptFile = `${sandbox.home}/.config/bottle/prompt.md`
    const hasPrompt = request.prompt.trim() !== ""
    // A token in the environment signs in for inference only; Remote Control wants a login, which is a file.
    const env: Record<string, string> = remoteControl
      ? ALWAYS
      : { ...ALWAYS, ...QUIET, [signIn.variable]: signIn.placeholder }
    const route: ProviderRoute = {
      host: API_HOST,
      paths: remoteControl ? [...PATHS, ...REMOTE_CONTROL_PATHS] : PATHS,
      methods: remoteControl ? REMOTE_CONTROL_METHODS : METHODS,
      auth: { scheme: signIn.scheme, variable: signIn.variable },
    }
    return {
      tool: `claude ${CLAUDE_VERSION}`,
      version: CLAUDE_VERSION,
      image: "claude",
      argv: argvOf(request, hasPrompt ? promptFile : undefined),
      ...(request.resume ? { resume: resumeOf(request) } : {}),
      files: [
        ...homeFiles(request, signIn),
        ...(hasPrompt ? [{ path: promptFile, mode: 0o600, content: request.prompt, seed: false }] : []),
      ],
      trees: Object.entries(request.skills).map(([name, from]) => ({
        from,
        to: `${sandbox.home}/.claude/skills/${name}`,
      })),
      setup: [],
      env: { ...env },
      hiddenEnv: Object.keys(env),
      routes: [route],
      placeholders: [{ value: signIn.placeholder, hosts: [API_HOST] }],
    }
  },
}

function signInOf({ auth, placeholderSeed }: ProvisionRequest): SignIn {
  const scheme = auth?.scheme ?? "bearer"
  if (scheme === "bearer") {
    const value = placeholder("sk-ant-oat01-", placeholderSeed, "claude oauth token")
    return { scheme, variable: "CLAUDE_CODE_OAUTH_TOKEN", placeholder: value }
  }
  if (scheme.toLowerCase() === "header:x-api-key") {
    const value = placeholder("sk-ant-api03-", placeholderSeed, "claude api key")
    return { scheme, variable: "ANTHROPIC_API_KEY", placeholder: value }
  }
  throw new BottleError({
    what: `Claude Code cannot sign in with the scheme ${scheme}`,
    why: `${API_HOST} takes a token as bearer, or a key in the header x-api-key`,
    next: `Write \`auth: { scheme: bearer, ... }\` or \`auth: { scheme: header:x-api-key, ... }\` for ${API_HOST}`,
  })
}

function refuseRemoteControl(request: ProvisionRequest, signIn: SignIn): void {
  if (request.task !== undefined) {
    throw usageError(
      "Remote Control needs an interactive session",
      "Leave out either `--remote-control` or `--prompt`",
      "a one-shot task ends before a browser could join it",
    )
  }
  if (signIn.variable !== "CLAUDE_CODE_OAUTH_TOKEN") {
    throw new BottleError({
      what: "Remote Control needs the token of a subscription",
      why: "the bottle signs in with an API key, for which the service does not offer it",
      next: `Write \`auth: { scheme: bearer, ... }\` for ${API_HOST}, with the access token of a claude.ai login`,
    })
  }
}

/**
 * Flags first. `--remote-control` takes an optional name and would swallow a plain word behind it, so that another flag
 * follows it; a task that begins with a dash would be read as a flag, so that a space goes before it.
 */
function argvOf(request: ProvisionRequest, promptFile: string | undefined): string[] {
  const task = request.task?.startsWith("-") ? ` ${request.task}` : request.task
  return [
    "claude",
    ...(request.remoteControl ? ["--remote-control"] : []),
    "--dangerously-skip-permissions",
    ...(promptFile === undefined ? [] : ["--append-system-prompt-file", promptFile]),
    ...(task === undefined ? [] : ["-p", task]),
    ...request.args,
  ]
}

/** Where there is no conversation of this workspace, `--continue` fails, and a fresh one is started instead. */
function resumeOf({ sandbox }: ProvisionRequest): { args: string[]; when: string } {
  // Claude Code names the folder of a project's conversations after its path, other characters made dashes.
  const project = sandbox.workspace.replace(/[^A-Za-z0-9]/g, "-")
  return { args: ["--continue"], when: `${sandbox.home}/.claude/projects/${project}/*.jsonl` }
}

/** Files that let the client go straight to its prompt: onboarding done, workspace trusted, permissions skipped. */
function homeFiles(request: ProvisionRequest, signIn: SignIn): ProvisionFile[] {
  const { home, workspace } = request.sandbox
  const state = {
    hasCompletedOnboarding: true,
    bypassPermissionsModeAccepted: true,
    projects: { [workspace]: { hasTrustDialogAccepted: true } },
    // The client asks before it uses a key of the environment; it remembers a key by its last 20 characters.
    ...(signIn.variable === "ANTHROPIC_API_KEY"
      ? { customApiKeyResponses: { approved: [signIn.placeholder.slice(-20)], rejected: [] } }
      : {}),
  }
  const files = [
    file(`${home}/.claude.json`, state),
    file(`${home}/.claude/settings.json`, { skipDangerousModePermissionPrompt: true }),
  ]
  if (!request.remoteControl) return files
  const login = {
    accessToken: signIn.placeholder,
    // The year 2096: the client is never to renew a token that it does not have.
    expiresAt: 4_000_000_000_000,
    scopes: ["user:inference", "user:profile", "user:sessions:claude_code"],
  }
  return [...files, { ...file(`${home}/.claude/.credentials.json`, { claudeAiOauth: login }), seed: false }]
}

function file(path: string, value: unknown): ProvisionFile {
  return { path, mode: 0o600, content: `${JSON.stringify(value, null, 2)}\n`, seed: true }
}
