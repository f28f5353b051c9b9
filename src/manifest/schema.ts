/**
 * What the frontmatter of a manifest may say. `null` (a key without a value) clears what was inherited; an absent key
 * inherits it.
 */
import * as z from "zod/mini"
import { TERMINAL_PERMISSIONS } from "../policy/terminal/permission.ts"
import {
  commandVerdict,
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
function section<Shape extends z.core.$ZodShape>(shape: Shape) {
  const keys = Object.keys(shape).sort().join(", ")
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? keys : undefined),
  })
}

/** A text that passes a rule. */
function text(verdict: (value: string) => Verdict) {
  return z.string().check(
    z.superRefine((value, context) => {
      const fault = verdict(value)
      if (fault !== undefined) context.addIssue({ code: "custom", message: fault })
    }),
  )
}

function notEmpty(what: string): (value: string) => Verdict {
  return (value) => (value.trim() === "" ? says(`${what} is empty`) : undefined)
}

/** One text stands for a list of one. */
const nameOrNames = z.pipe(
  z.transform((value) => (typeof value === "string" ? [value] : value)),
  z.array(text(nameVerdict)).check(z.maxLength(16)),
)

const tokenSource = section({
  env: z.optional(text(hostVariableVerdict)),
  file: z.optional(text(notEmpty("the path"))),
  command: z.optional(
    z
      .array(z.string())
      .check(z.minLength(1, says("the command is empty", 'Write it as: command: [pass, show, "github"]'))),
  ),
}).check(
  z.superRefine((value, context) => {
    const given = Object.keys(value).length
    if (given === 1) return
    const fix = "Write one of:\nenv: NAME\nfile: ~/path\ncommand: [program, argument]"
    const text = given === 0 ? "nothing says where the credential is" : "the credential comes from one place"
    context.addIssue({ code: "custom", message: says(text, fix) })
  }),
)

/** Keys that act on bytes which a route without interception never sees. */
const NEEDS_INTERCEPTION = ["paths", "methods", "auth", "scan"] as const

const routeFields = section({
  host: text(hostVerdict),
  paths: z.optional(
    z
      .array(text(pathVerdict))
      .check(
        z.minLength(
          1,
          says("a route without a path lets nothing through", "Leave paths out for all, or remove the route"),
        ),
        z.maxLength(256),
      ),
  ),
  methods: z.optional(
    z
      .array(text(methodVerdict))
      .check(
        z.minLength(
          1,
          says("a route without a method lets nothing through", "Leave methods out, or remove the route"),
        ),
        z.maxLength(16),
      ),
  ),
  auth: z.optional(section({ scheme: text(schemeVerdict), token: tokenSource })),
  intercept: z._default(z.boolean(), true),
  scheme: z._default(z.enum(["https", "http"]), "https"),
  private: z._default(z.array(text(cidrVerdict)).check(z.maxLength(64)), []),
  scan: z.optional(section({ on_match: z.enum(["block", "propose", "off"]) })),
})

const route = routeFields.check(
  z.superRefine((value, context) => {
    const fault = (key: string, text: string, fix: string) =>
      context.addIssue({ code: "custom", path: [key], message: says(text, fix) })
    if (value.scheme === "http" && value.auth !== undefined) {
      fault(
        "auth",
        "a credential never travels in the clear",
        "Remove `scheme: http`, or remove auth from this route",
      )
    }
    if (value.intercept) return
    for (const key of NEEDS_INTERCEPTION) {
      if (value[key] === undefined) continue
      const text = `${key} cannot hold where intercept is false: the bytes pass unseen`
      fault(key, text, `Remove ${key}, or remove \`intercept: false\``)
    }
    if (value.scheme === "http") {
      fault("intercept", "plain http has nothing sealed to pass on", "Remove `intercept: false`")
    }
  }),
)

const gitUser = section({ name: z.nullish(z.string()), email: z.nullish(z.string()) })

const gitRepo = section({
  url: text(repoUrlVerdict),
  identity_file: text(notEmpty("the path")),
  // The gate has nobody to ask about an unknown key, so a repository without one could never be reached.
  known_host_key: text(hostKeyVerdict),
  refs: z._default(
    z
      .array(text(refVerdict))
      .check(z.minLength(1, says("without a ref nothing can be pushed", "Leave refs out for all branches"))),
    ["refs/heads/*"],
  ),
  allow_ci: z._default(z.boolean(), false),
})

export const TEMPLATES = ["claude", "codex", "command"] as const
export const BACKENDS = ["docker", "smolmachines", "bubblewrap"] as const

const limits = section({
  memory: z.nullish(text(memoryVerdict)),
  pids: z.nullish(
    z
      .int()
      .check(
        z.minimum(16, says("an agent needs at least 16 processes", "Write: pids: 1024")),
        z.maximum(4_194_304, says("the kernel has no more than 4194304 process ids", "Write: pids: 1024")),
      ),
  ),
  cpus: z.nullish(
    z
      .number()
      .check(
        z.minimum(0.1, says("an agent needs at least a tenth of a core", "Write: cpus: 2")),
        z.maximum(4096, says("more cores than any machine has", "Write: cpus: 2")),
      ),
  ),
})

const agentProvider = section({
  template: z.nullish(z.enum(TEMPLATES)),
  dockerfile: z.nullish(z.string()),
  forward_host_credentials: z.nullish(z.boolean()),
  command: z.nullish(
    z.array(z.string()).check(
      z.superRefine((words, context) => {
        const fault = commandVerdict(words)
        if (fault !== undefined) context.addIssue({ code: "custom", message: fault })
      }),
    ),
  ),
})

const git = section({
  user: z.nullish(gitUser),
  repos: z.nullish(z.record(text(nameVerdict), gitRepo)),
})

export const bottleFile = section({
  extends: z.nullish(nameOrNames),
  env: z.nullish(z.record(text(envNameVerdict), z.nullable(z.string()))),
  egress: z.nullish(section({ routes: z.nullish(z.array(route).check(z.maxLength(1024))) })),
  git: z.nullish(git),
  supervise: z.nullish(z.boolean()),
  agent_provider: z.nullish(agentProvider),
  backend: z.nullish(z.enum(BACKENDS)),
  gateway: z.nullish(z.enum(["native", "classic"])),
  repo_agents: z.nullish(z.boolean()),
  limits: z.nullish(limits),
  terminal: z.nullish(
    section({ allow: z.nullish(z.array(z.enum(TERMINAL_PERMISSIONS)).check(z.maxLength(16))) }),
  ),
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

const ignored = Object.fromEntries(IGNORED_AGENT_KEYS.map((key) => [key, z.optional(z.unknown())])) as Record<
  (typeof IGNORED_AGENT_KEYS)[number],
  z.ZodMiniOptional<z.ZodMiniUnknown>
>

export const agentFile = section({
  ...ignored,
  bottle: text(nameVerdict),
  skills: z.nullish(z.array(text(nameVerdict)).check(z.maxLength(256))),
  git: z.nullish(section({ user: z.nullish(gitUser) })),
})

export type BottleFile = z.output<typeof bottleFile>
export type AgentFile = z.output<typeof agentFile>
export type RouteEntry = z.output<typeof route>
