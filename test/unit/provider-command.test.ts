import { expect, test } from "bun:test"
import { command } from "../../src/provider/command.ts"
import type { ProvisionRequest } from "../../src/provider/types.ts"
import { errorOf } from "../fixtures/manifest-home.ts"

const OWN = "/home/agent/.config/bottle"

function planFor(over: Partial<ProvisionRequest> = {}) {
  return command.plan({
    prompt: "",
    skills: {},
    remoteControl: false,
    args: [],
    resume: false,
    sandbox: {
      workspace: "/workspace",
      home: "/home/agent",
      caBundle: "/run/bottle/sock/init/ca-bundle.pem",
    },
    command: ["bash"],
    placeholderSeed: "dev-abc12",
    ...over,
  })
}

test("the bottle's command runs as it is written, with arguments of the user's behind it", () => {
  expect(planFor().argv).toEqual(["bash"])
  expect(planFor({ command: ["bash", "-c", 'echo "$1"', "sh"], args: ["a b", "-x", "$HOME"] }).argv).toEqual([
    "bash",
    "-c",
    'echo "$1"',
    "sh",
    "a b",
    "-x",
    "$HOME",
  ])
})

test("it is shown by its program's name, and has no version, host, credential or placeholder", () => {
  const plan = planFor({ command: ["/opt/tool/bin/run", "--fast"] })
  expect(plan).toMatchObject({ tool: "command /opt/tool/bin/run", version: "", image: "command" })
  expect(planFor({ command: ["a\u001b[2Jb"] }).tool).toBe("command a?[2Jb")
  expect({ routes: plan.routes, placeholders: plan.placeholders, env: plan.env }).toEqual({
    routes: [],
    placeholders: [],
    env: {},
  })
  expect(command.apiHost).toBeUndefined()
})

test("a task goes exactly where {prompt} stands, whatever is in it, and arguments are not searched for it", () => {
  const words = ["tool", "--message={prompt}", "{prompt}", "-v"]
  const task = "-x $& $1 {prompt} \"q\" 'q'\nsecond line"
  expect(planFor({ command: words, task, args: ["{prompt}"] }).argv).toEqual([
    "tool",
    `--message=${task}`,
    task,
    "-v",
    "{prompt}",
  ])
})

test("a task without a place for it, and a place without a task, are usage errors that say what to write", () => {
  const nowhere = errorOf(() => command.checkTask?.("x", ["tool"]))
  expect(nowhere.exitCode).toBe(2)
  expect(nowhere.next).toContain('command: [tool, --message, "{prompt}"]')
  const nothing = errorOf(() => command.checkTask?.(undefined, ["tool", "--task={prompt}"]))
  expect(nothing.exitCode).toBe(2)
  expect(nothing.next).toContain("--prompt")
  command.checkTask?.("x", ["tool", "--task={prompt}"])
  command.checkTask?.(undefined, ["tool"])
})

test("Remote Control is Claude Code's alone", () => {
  const error = errorOf(() => planFor({ remoteControl: true }))
  expect(error.exitCode).toBe(2)
  expect(error.what).toContain("Remote Control")
})

test("the system prompt is a private file that one variable names, and without one there is neither", () => {
  const plan = planFor({ prompt: "Be brief." })
  expect(plan.files).toEqual([{ path: `${OWN}/prompt.md`, mode: 0o600, content: "Be brief.\n", seed: false }])
  expect(plan.env).toEqual({ BOTTLE_PROMPT_FILE: `${OWN}/prompt.md` })
  expect(plan.hiddenEnv).toEqual(["BOTTLE_PROMPT_FILE"])
  expect(plan.argv).toEqual(["bash"])
  for (const prompt of ["", " \n"]) {
    expect(planFor({ prompt }).files).toEqual([])
    expect(planFor({ prompt }).env).toEqual({})
  }
})

test("skills are folders beside the prompt, by their names", () => {
  expect(planFor({ skills: { tides: "/home/someone/.claude/skills/tides" } }).trees).toEqual([
    { from: "/home/someone/.claude/skills/tides", to: `${OWN}/skills/tides` },
  ])
})

test("a resume runs the same command again", () => {
  const over = { command: ["bash", "-l"], prompt: "p" }
  expect(planFor({ ...over, resume: true })).toEqual(planFor(over))
})
