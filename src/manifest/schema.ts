/**
 * What the frontmatter of a manifest may say. `null` (a key without a value) clears what was inherited; an absent key
 * inherits it.
 */
import { z } from "zod"
import {
  envNameVerdict,
  hostKeyVerdict,
  hostVariableVerdict,
  memoryVerdict,
  nameVerdict,
  refVerdict,
  repoUrlVerdict,
} from "./other-fields.ts"
import { cidrVerdict, hostVerdict, methodVerdict, pathVerdict, schemeVerdict } from "./route-fields.ts"
import { says, type Verdict } from "./saying.ts"

/** A map with these keys and no others; its error lists them, for the caller to tell. */
function section<Shape extends z.ZodRawShape>(shape: Shape) {
  const keys = Object.keys(shape).sort().join(", ")
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? keys : undefined),
  })
}

/** A text that passes a rule. */
function text(verdict: (value: string) => Verdict) {
  return z.string().superRefine((value, context) => {
    const fault = verdict(value)
    if (fault !== undefined) context.addIssue({ code: "custom", message: fault })
  })
}

function notEmpty(what: string): (value: string) => Verdict {
  return (value) => (value.trim() === "" ? says(`${what} is empty`) : undefined)
}

/** One text stands for a list of one. */
const nameOrNames = z.preprocess(
  (value) => (typeof value === "string" ? [value] : value),
  z.array(text(nameVerdict)).max(16),
)

const tokenSource = section({
  env: text(hostVariableVerdict).optional(),
  file: text(notEmpty("the path")).optional(),
  command: z
    .array(z.string())
    .min(1, says("the command is empty", 'Write it as: command: [pass, show, "github"]'))
    .optional(),
}).superRefine((value, context) => {
  const given = Object.keys(value).length
  if (given !== 1) {
    const fix = "Write one of:\nenv: NAME\nfile: ~/path\ncommand: [program, argument]"
    context.addIssue({
      code: "custom",
      message: says(
        given === 0 ? "nothing says where the credential is" : "the credential comes from one place",
        fix,
      ),
    })
  }
})

/** Keys that act on bytes which a route without interception never sees. */
const NEEDS_INTERCEPTION = ["paths", "methods", "auth", "scan"] as const

const route = section({
  host: text(hostVerdict),
  paths: z
    .array(text(pathVerdict))
    .min(
      1,
      says("a route without a path lets nothing through", "Leave paths out for all, or remove the route"),
    )
    .max(256)
    .optional(),
  methods: z
    .array(text(methodVerdict))
    .min(1, says("a route without a method lets nothing through", "Leave methods out, or remove the route"))
    .max(16)
    .optional(),
  auth: section({ scheme: text(schemeVerdict), token: tokenSource }).optional(),
  intercept: z.boolean().default(true),
  scheme: z.enum(["https", "http"]).default("https"),
  private: z.array(text(cidrVerdict)).max(64).default([]),
  scan: section({ on_match: z.enum(["block", "propose", "off"]) }).optional(),
}).superRefine((value, context) => {
  if (value.scheme === "http" && value.auth !== undefined) {
    const message = says(
      "a credential never travels in the clear",
      "Remove `scheme: http`, or remove auth from this route",
    )
    context.addIssue({ code: "custom", path: ["auth"], message })
  }
  if (value.intercept) return
  for (const key of NEEDS_INTERCEPTION) {
    if (value[key] === undefined) continue
    const message = says(
      `${key} cannot hold where intercept is false: the bytes pass unseen`,
      `Remove ${key}, or remove \`intercept: false\``,
    )
    context.addIssue({ code: "custom", path: [key], message })
  }
  if (value.scheme === "http") {
    const message = says("plain http has nothing sealed to pass on", "Remove `intercept: false`")
    context.addIssue({ code: "custom", path: ["intercept"], message })
  }
})

const gitUser = section({ name: z.string().nullish(), email: z.string().nullish() })

const gitRepo = section({
  url: text(repoUrlVerdict),
  identity_file: text(notEmpty("the path")),
  // The gate has nobody to ask about an unknown key, so a repository without one could never be reached.
  known_host_key: text(hostKeyVerdict),
  refs: z
    .array(text(refVerdict))
    .min(1, says("without a ref nothing can be pushed", "Leave refs out for all branches"))
    .default(["refs/heads/*"]),
  allow_ci: z.boolean().default(false),
})

export const TEMPLATES = ["claude", "codex", "command"] as const
export const BACKENDS = ["docker", "smolmachines", "bubblewrap"] as const

export const bottleFile = section({
  extends: nameOrNames.nullish(),
  env: z.record(text(envNameVerdict), z.string().nullable()).nullish(),
  egress: section({ routes: z.array(route).max(1024).nullish() }).nullish(),
  git: section({
    user: gitUser.nullish(),
    repos: z.record(text(nameVerdict), gitRepo).nullish(),
  }).nullish(),
  supervise: z.boolean().nullish(),
  agent_provider: section({
    template: z.enum(TEMPLATES).nullish(),
    dockerfile: z.string().nullish(),
    forward_host_credentials: z.boolean().nullish(),
    command: z.array(z.string()).nullish(),
  }).nullish(),
  backend: z.enum(BACKENDS).nullish(),
  gateway: z.enum(["native", "classic"]).nullish(),
  repo_agents: z.boolean().nullish(),
  limits: section({
    memory: text(memoryVerdict).nullish(),
    pids: z
      .number()
      .int()
      .min(16, says("an agent needs at least 16 processes", "Write: pids: 1024"))
      .max(4_194_304, says("the kernel has no more than 4194304 process ids", "Write: pids: 1024"))
      .nullish(),
    cpus: z
      .number()
      .min(0.1, says("an agent needs at least a tenth of a core", "Write: cpus: 2"))
      .max(4096, says("more cores than any machine has", "Write: cpus: 2"))
      .nullish(),
  }).nullish(),
})

/** Claude Code's own fields of a sub-agent file: read and ignored, so that one file can serve both. */
export const IGNORED_AGENT_KEYS = [
  "name",
  "description",
  "tools",
  "disallowedTools",
  "model",
  "permissionMode",
  "maxTurns",
  "mcpServers",
  "hooks",
  "memory",
  "background",
  "effort",
  "isolation",
  "initialPrompt",
  "color",
] as const

const ignored = Object.fromEntries(IGNORED_AGENT_KEYS.map((key) => [key, z.unknown().optional()])) as Record<
  (typeof IGNORED_AGENT_KEYS)[number],
  z.ZodOptional<z.ZodUnknown>
>

export const agentFile = section({
  ...ignored,
  bottle: text(nameVerdict),
  skills: z.array(text(nameVerdict)).max(256).nullish(),
  git: section({ user: gitUser.nullish() }).nullish(),
})

export type BottleFile = z.output<typeof bottleFile>
export type AgentFile = z.output<typeof agentFile>
export type RouteEntry = z.output<typeof route>
