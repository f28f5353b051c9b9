import { beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { cpSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { canonicalPath, compilePathRule, matchesPath } from "../../src/policy/path.ts"
import { claude } from "../../src/provider/claude.ts"
import type { ProvisionPlan, ProvisionRequest } from "../../src/provider/types.ts"
import { run } from "../../src/runtime/spawn.ts"
import { certificateFor, type TestCertificate } from "../fixtures/certificate.ts"
import { claudeBinary } from "../fixtures/claude-binary.ts"
import { startConnectProxy } from "../fixtures/connect-proxy.ts"
import {
  type Answer,
  isAgentTurn,
  type MessagesRequest,
  type RecordedRequest,
  runThenTell,
  startMessagesApi,
  textsOf,
} from "../fixtures/messages-api.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"
import { onTerminal, type TerminalProgram } from "../fixtures/terminal.ts"

setDefaultTimeout(60_000)

let binary: string
let certificate: TestCertificate

beforeAll(async () => {
  ;[binary, certificate] = await Promise.all([claudeBinary(), certificateFor("api.anthropic.com")])
}, 330_000)

/** A home and a workspace made from a plan, and the API under its own name behind a proxy, as in a bottle. */
async function sandbox(answer: (request: MessagesRequest) => Answer = () => "Hello from the stand-in.") {
  await using cleanup = new AsyncDisposableStack()
  const folder = cleanup.use(temporaryFolder())
  const api = cleanup.use(await startMessagesApi({ ...certificate, answer }))
  const proxy = cleanup.use(await startConnectProxy({ "api.anthropic.com:443": api.port }))
  const home = join(folder.path, "home")
  const workspace = join(folder.path, "work.space")
  const caBundle = join(folder.path, "ca.pem")
  mkdirSync(workspace)
  writeFileSync(caBundle, certificate.ca)

  function planFor(over: Partial<ProvisionRequest> = {}): ProvisionPlan {
    return claude.plan({
      prompt: "",
      skills: {},
      remoteControl: false,
      args: [],
      resume: false,
      sandbox: { workspace, home, caBundle },
      command: [],
      placeholderSeed: "dev-abc12",
      ...over,
    })
  }

  /** Does what a backend does with a plan, and gives the command line and environment that follow from it. */
  function provision(plan: ProvisionPlan) {
    for (const { path, mode, content, seed } of plan.files) {
      if (seed && globSync(path).length > 0) continue
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, content, { mode })
    }
    for (const { from, to } of plan.trees) cpSync(from, to, { recursive: true })
    const continues = plan.resume !== undefined && globSync(plan.resume.when).length > 0
    const [, ...args] = continues ? [...plan.argv, ...plan.resume!.args] : plan.argv
    const env = {
      PATH: "/usr/bin:/bin",
      HOME: home,
      SHELL: "/bin/bash",
      TERM: "xterm-256color",
      LANG: "C.UTF-8",
      HTTPS_PROXY: proxy.url,
      HTTP_PROXY: proxy.url,
      NODE_EXTRA_CA_CERTS: caBundle,
      // Claude Code skips no permissions for root unless told that this is a sandbox; in a bottle nobody is root.
      IS_SANDBOX: "1",
      ...plan.env,
    }
    return { argv: [binary, ...args], env, cwd: workspace, continues }
  }

  const parts = cleanup.move()
  return {
    folder: folder.path,
    home,
    api,
    proxy,
    planFor,
    async runs(plan: ProvisionPlan) {
      const { argv, env, cwd } = provision(plan)
      return run(argv, { env, cwd, timeoutMs: 45_000 })
    },
    shows(plan: ProvisionPlan): TerminalProgram {
      const { argv, env, cwd } = provision(plan)
      return onTerminal(argv, { env, cwd })
    },
    provision,
    turns: () => api.requests.filter(isMessages).map(bodyOf).filter(isAgentTurn),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

function isMessages(request: RecordedRequest): boolean {
  return request.method === "POST" && canonicalPath(request.path)?.path === "/v1/messages"
}

function bodyOf(request: RecordedRequest): MessagesRequest {
  return JSON.parse(request.body) as MessagesRequest
}

/** Every text of the conversation, in order. */
function spoken(request: MessagesRequest | undefined): string[] {
  return (request?.messages ?? []).flatMap(({ content }) => textsOf(content))
}

/** Requests that no route of the plan would let through, as `METHOD /path`. */
function outside(plan: ProvisionPlan, requests: RecordedRequest[]): string[] {
  const rules = plan.routes[0]!.paths.map((text) => compilePathRule(text)!)
  const refused = requests.filter(({ method, path }) => {
    const canonical = canonicalPath(path)?.path ?? ""
    return !(plan.routes[0]!.methods!.includes(method) && matchesPath(rules, canonical))
  })
  return refused.map(({ method, path }) => `${method} ${canonicalPath(path)?.path}`)
}

test("a one-shot task runs a command, prints the answer alone, and asks for nothing outside its routes", async () => {
  await using box = await sandbox(runThenTell("echo $((6 * 7)); pwd"))
  const plan = box.planFor({ task: "Compute it", prompt: "Speak like a pirate of the test." })
  const result = await box.runs(plan)
  expect(result).toEqual({
    code: 0,
    stdout: expect.stringContaining("The command printed: 42\n"),
    stderr: "",
  })
  expect(result.stdout.trim().split("\n")).toHaveLength(2)

  const [first] = box.turns()
  expect(JSON.stringify(first?.system)).toContain("Speak like a pirate of the test.")
  expect(spoken(first).join("\n")).toContain("Compute it")
  expect(outside(plan, box.api.requests)).toEqual([])
  expect([...new Set(box.proxy.asked)]).toEqual(["api.anthropic.com:443"])
  const held = plan.placeholders[0]!.value
  for (const { headers } of box.api.requests) expect(headers.authorization).toBe(`Bearer ${held}`)
})

test("an interactive session goes straight to its prompt, answers, and asks for nothing outside its routes", async () => {
  await using box = await sandbox()
  const plan = box.planFor()
  await using terminal = box.shows(plan)
  await terminal.sees("bypass permissions on")
  terminal.type("good morning")
  await terminal.sees("good morning")
  terminal.type("\r")
  await terminal.sees("Hello from the stand-in.")
  expect(outside(plan, box.api.requests)).toEqual([])
  expect([...new Set(box.proxy.asked)]).toEqual(["api.anthropic.com:443"])
})

test("without the seeded files the client wants to introduce itself first", async () => {
  await using box = await sandbox()
  await using terminal = box.shows({ ...box.planFor(), files: [] })
  await terminal.sees("Welcome to Claude Code")
})

test("a resumed session continues the conversation, and starts a fresh one where there is none", async () => {
  await using box = await sandbox((request) => `Turn ${request.messages.length}.`)
  const fresh = box.planFor({ task: "Remember the word heron", resume: true })
  expect(box.provision(fresh).continues).toBe(false)
  expect((await box.runs(fresh)).code).toBe(0)

  const resumed = box.planFor({ task: "Which word was it?", resume: true })
  expect(box.provision(resumed).continues).toBe(true)
  expect((await box.runs(resumed)).code).toBe(0)
  const conversation = box
    .turns()
    .at(-1)!
    .messages.flatMap(({ content }) => textsOf(content))
  expect(conversation.join("\n")).toContain("Remember the word heron")
  expect(conversation.at(-1)).toContain("Which word was it?")
})

test("a skill that was copied is offered to the model", async () => {
  await using box = await sandbox()
  const skill = join(box.folder, "tide-tables")
  mkdirSync(skill)
  const text =
    "---\nname: tide-tables\ndescription: Reads tide tables of the test harbour\n---\nLook at the tide.\n"
  writeFileSync(join(skill, "SKILL.md"), text)
  expect((await box.runs(box.planFor({ task: "hi", skills: { "tide-tables": skill } }))).code).toBe(0)
  expect(JSON.stringify(box.turns()[0])).toContain("Reads tide tables of the test harbour")
})

test("with an API key the session asks nothing about it and sends it in its own header", async () => {
  await using box = await sandbox()
  const plan = box.planFor({ auth: { scheme: "header:x-api-key" } })
  await using terminal = box.shows(plan)
  await terminal.sees("bypass permissions on")
  terminal.type("good morning")
  await terminal.sees("good morning")
  terminal.type("\r")
  await terminal.sees("Hello from the stand-in.")
  const [turn] = box.api.requests.filter(isMessages)
  expect(turn?.headers["x-api-key"]).toBe(plan.placeholders[0]!.value)
  expect(turn?.headers.authorization).toBeUndefined()
})

test("Remote Control signs in with the placeholder's login and asks for its session inside its routes", async () => {
  await using box = await sandbox()
  const plan = box.planFor({ remoteControl: true })
  await using terminal = box.shows(plan)
  await terminal.sees("bypass permissions on")
  await terminal.sees("Session creation failed")
  const [asked] = box.api.requests.filter(({ path }) => path.startsWith("/v1/code/sessions"))
  expect(asked?.headers.authorization).toBe(`Bearer ${plan.placeholders[0]!.value}`)
  expect(outside(plan, [asked!])).toEqual([])
})

test("a task that looks like a flag is a task", async () => {
  await using box = await sandbox()
  expect((await box.runs(box.planFor({ task: "--version" }))).stdout).toBe("Hello from the stand-in.\n")
})

test("the files hold the placeholder at most, and only their owner may read them", async () => {
  await using box = await sandbox()
  const plan = box.planFor({ remoteControl: true, prompt: "A prompt." })
  box.provision(plan)
  for (const { path, mode } of plan.files) {
    expect(mode).toBe(0o600)
    const tokens = readFileSync(path, "utf8").match(/sk-ant-[\w-]+/g) ?? []
    expect(tokens.filter((token) => token !== plan.placeholders[0]!.value)).toEqual([])
  }
})
