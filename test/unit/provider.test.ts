import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { compilePathRule } from "../../src/policy/path.ts"
import { CLAUDE_VERSION, claude } from "../../src/provider/claude.ts"
import { command } from "../../src/provider/command.ts"
import { providerNamed } from "../../src/provider/registry.ts"
import type { ProvisionRequest } from "../../src/provider/types.ts"
import { BottleError } from "../../src/runtime/error.ts"

const HOME = "/home/agent"

function planFor(over: Partial<ProvisionRequest> = {}) {
  return claude.plan({
    prompt: "",
    skills: {},
    remoteControl: false,
    args: [],
    resume: false,
    sandbox: { workspace: "/workspace", home: HOME, caBundle: "/run/bottle/sock/init/ca-bundle.pem" },
    command: [],
    placeholderSeed: "dev-abc12",
    ...over,
  })
}

function errorOf(act: () => unknown): BottleError {
  try {
    act()
  } catch (error) {
    if (error instanceof BottleError) return error
  }
  throw new Error("no error for people was thrown")
}

test("the provider's version is the one that the image installs", () => {
  const image = JSON.parse(readFileSync(new URL("../../images/claude/package.json", import.meta.url), "utf8"))
  const versions = new Set(Object.values(image.optionalDependencies))
  expect([...versions]).toEqual([CLAUDE_VERSION])
  expect(planFor().tool).toBe(`claude ${CLAUDE_VERSION}`)
})

test("the same request gives the same plan, and shares nothing with the last one", () => {
  const first = planFor()
  first.env.ADDED = "by a backend"
  expect(planFor()).toEqual(planFor())
  expect(planFor().env).not.toHaveProperty("ADDED")
})

test("the system prompt goes by a private file, and without one there is no flag", () => {
  const plan = planFor({ prompt: "Be brief." })
  const flag = plan.argv.indexOf("--append-system-prompt-file")
  const file = plan.files.find(({ path }) => path === plan.argv[flag + 1])
  expect(file).toMatchObject({ content: "Be brief.", mode: 0o600, seed: false })
  expect(plan.argv.join(" ")).not.toContain("Be brief.")
  for (const prompt of ["", " \n"]) {
    expect(planFor({ prompt }).argv).toEqual(["claude", "--dangerously-skip-permissions"])
    expect(planFor({ prompt }).files).toHaveLength(2)
  }
})

test.each([
  [{ task: "Fix it" }, ["-p", "Fix it"]],
  [{ task: "-v" }, ["-p", " -v"]],
  [{ args: ["--model", "opus"] }, ["--model", "opus"]],
  [{ task: "Fix it", args: ["--model", "opus"] }, ["-p", "Fix it", "--model", "opus"]],
] as [Partial<ProvisionRequest>, string[]][])("%j is started with %j", (over, rest) => {
  expect(planFor(over).argv).toEqual(["claude", "--dangerously-skip-permissions", ...rest])
})

test("a conversation is continued only on resume, where the workspace has one", () => {
  expect(planFor().resume).toBeUndefined()
  expect(planFor({ resume: true }).resume).toEqual({
    args: ["--continue"],
    when: `${HOME}/.claude/projects/-workspace/*.jsonl`,
  })
})

test("every bottle and every way to sign in has a placeholder of its own, which a resume keeps", () => {
  const values = [
    planFor(),
    planFor({ placeholderSeed: "dev-zzzzz" }),
    planFor({ auth: { scheme: "header:x-api-key" } }),
  ].map((plan) => plan.placeholders[0]!.value)
  expect(new Set(values).size).toBe(3)
  expect(values[0]).toMatch(/^sk-ant-oat01-bottle-placeholder-[0-9a-f]{32}$/)
  expect(values[2]).toMatch(/^sk-ant-api03-bottle-placeholder-[0-9a-f]{32}$/)
  expect(planFor({ resume: true }).placeholders[0]!.value).toBe(values[0]!)
})

test.each([
  [undefined, "bearer", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY"],
  [{ scheme: "bearer" }, "bearer", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY"],
  [{ scheme: "header:X-Api-Key" }, "header:X-Api-Key", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"],
] as const)(
  "signing in as %j puts a placeholder into the one variable for it",
  (auth, scheme, variable, other) => {
    const plan = planFor(auth === undefined ? {} : { auth })
    expect(plan.routes[0]!.auth).toEqual({ scheme, variable })
    expect(plan.env[variable]).toBe(plan.placeholders[0]!.value)
    expect(plan.env).not.toHaveProperty(other)
  },
)

test("a way to sign in that the service does not know is refused with the two that it does", () => {
  const error = errorOf(() => planFor({ auth: { scheme: "basic" } }))
  expect(error.what).toContain("basic")
  expect(error.next).toContain("bearer")
  expect(error.next).toContain("header:x-api-key")
})

test("routes are one host with exact paths, all of which compile", () => {
  const plan = planFor()
  expect(plan.routes.map(({ host }) => host)).toEqual(["api.anthropic.com"])
  for (const path of plan.routes[0]!.paths) {
    expect(path).toStartWith("=/")
    expect(compilePathRule(path)).toBeDefined()
  }
  for (const path of planFor({ remoteControl: true }).routes[0]!.paths)
    expect(compilePathRule(path)).toBeDefined()
  expect(plan.placeholders[0]!.hosts).toEqual(["api.anthropic.com"])
})

test("nothing in the environment needs showing: all of it is ours", () => {
  const plan = planFor()
  expect(plan.hiddenEnv.sort()).toEqual(Object.keys(plan.env).sort())
  expect(plan.env.CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC).toBe("1")
})

test("skills become folders of the agent's home by their names", () => {
  expect(planFor({ skills: { tides: "/home/someone/.claude/skills/tides" } }).trees).toEqual([
    { from: "/home/someone/.claude/skills/tides", to: `${HOME}/.claude/skills/tides` },
  ])
})

test("Remote Control signs in by file, opens its own paths, and never swallows the word behind its flag", () => {
  const plan = planFor({ remoteControl: true, args: ["hello"] })
  expect(plan.argv).toEqual(["claude", "--remote-control", "--dangerously-skip-permissions", "hello"])
  expect(plan.env).not.toHaveProperty("CLAUDE_CODE_OAUTH_TOKEN")
  expect(plan.env).not.toHaveProperty("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC")
  const login = plan.files.find(({ path }) => path === `${HOME}/.claude/.credentials.json`)
  expect(login?.content).toContain(plan.placeholders[0]!.value)
  expect(plan.routes[0]!.paths).toContain("/v1/code/sessions/")
  expect(planFor().routes[0]!.paths).not.toContain("/v1/code/sessions/")
})

test("Remote Control is refused for a one-shot task and for an API key", () => {
  const task = errorOf(() => planFor({ remoteControl: true, task: "x" }))
  expect(task.exitCode).toBe(2)
  expect(task.next).toContain("--prompt")
  const key = errorOf(() => planFor({ remoteControl: true, auth: { scheme: "header:x-api-key" } }))
  expect(key.why).toContain("API key")
})

test("claude and command are served; codex is known and said to be not served yet", () => {
  expect(providerNamed("claude")).toBe(claude)
  expect(providerNamed("command")).toBe(command)
  const error = errorOf(() => providerNamed("codex"))
  expect(error.what).toContain("codex")
  expect(error.what).toContain("does not run it yet")
  expect(error.why).toContain("claude, command")
})
