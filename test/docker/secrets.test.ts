/** Where secrets are, and where they are not: nothing that Docker, a process list or a log shows has one. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { namesOf } from "../../src/backend/docker/names.ts"
import { run } from "../../src/runtime/spawn.ts"
import { onTerminal } from "../fixtures/terminal.ts"
import { createScripted, type Scripted } from "./scripted.ts"

const fresh = (name: string) => `${name}-${randomBytes(16).toString("hex")}`
const asked = fresh("asked")
const fromHost = fresh("host")
const literal = fresh("literal")

let scripted: Scripted
let identity = ""

/** What the agent sees is kept where the test reads it; then it stays. */
const SCRIPT = "env >/tmp/env; echo ready; while :; do read -rt 60 _ <> <(:); done"

beforeAll(async () => {
  scripted = await createScripted()
  const { world } = scripted
  world.bottleFile(
    "secret",
    `extends: [scripted]\nenv: { ASKED: "?Database password", FROM_HOST: "\${SECRET_OF_HOST}", LITERAL: ${literal} }`,
  )
  world.agentFile("scripted", "bottle: secret", "Prompt of the agent.")
  const env = { ...world.env, AGENT_SCRIPT: SCRIPT, SECRET_OF_HOST: fromHost }
  const command = [...world.command, "start", "scripted", "--yes", "--profile"]
  await using terminal = onTerminal(command, { cwd: world.cwd, env })
  await terminal.sees("Database password (ASKED):")
  terminal.type(`${asked}\r`)
  // Shown on the terminal it would stand in its scrollback.
  const shown = await terminal.sees("ms agent")
  expect(shown).not.toContain(asked)
  identity = (await world.ok("list", "active")).split("\t")[1] ?? ""
  terminal.type("\u001cd")
  expect(await terminal.exited).toBe(0)
}, 600_000)
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})

/** Every secret that this bottle knows, by name. */
function secrets(): Record<string, string> {
  return { token: scripted.world.token, asked, fromHost, literal }
}

function expectNone(text: string, where: string): void {
  for (const [name, value] of Object.entries(secrets())) {
    for (const form of [value, Buffer.from(value).toString("base64").replace(/=+$/, "")]) {
      expect(`${where}: ${text.includes(form) ? `has ${name}` : "clean"}`).toBe(`${where}: clean`)
    }
  }
}

test("the agent has what its bottle hands it, and of the token a placeholder alone", async () => {
  const env = await scripted.inside(identity, "cat /tmp/env")
  expect(env).toContain(`ASKED=${asked}`)
  expect(env).toContain(`FROM_HOST=${fromHost}`)
  expect(env).toContain(`LITERAL=${literal}`)
  expect(env).not.toContain(scripted.world.token)
  expect(env).toMatch(/CLAUDE_CODE_OAUTH_TOKEN=.*placeholder/)
  // Its files, and every process that it may look at.
  const all = await scripted.inside(
    identity,
    "find / -xdev -type f -user 1000 -exec cat {} + 2>/dev/null; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'",
  )
  expect(all).toContain("CLAUDE_CODE_OAUTH_TOKEN")
  expect(all).not.toContain(scripted.world.token)
})

test("docker inspect of both containers, of their volumes and of their images shows none", async () => {
  const names = namesOf(identity)
  const { world } = scripted
  const containers = await world.docker("inspect", names.agent, names.sidecars)
  expect(containers).toContain(identity)
  expectNone(containers, "containers")
  expectNone(await world.docker("volume", "inspect", ...Object.values(names.volumes)), "volumes")
  const images = JSON.parse(containers).map(({ Image }: { Image: string }) => Image)
  expectNone(await world.docker("inspect", ...images), "images")
  expectNone(await world.docker("history", "--no-trunc", images[0]), "history")
})

test("no process list shows one: not Docker's, not the host's", async () => {
  const names = namesOf(identity)
  for (const container of [names.agent, names.sidecars]) {
    const top = await scripted.world.docker("top", container, "-eo", "pid,args")
    expect(top).toContain("/opt/bottle/bun")
    expectNone(top, container)
  }
  const all = await run(["ps", "-eww", "-o", "args"])
  expect(all.stdout).toContain("/opt/bottle/bun")
  expectNone(all.stdout, "host")
})

/** Environments of a container's processes as the kernel has them, by the line of the process list. */
async function environments(container: string): Promise<Map<string, string>> {
  const [, ...lines] = (await scripted.world.docker("top", container, "-eo", "pid,args")).split("\n")
  expect(lines.length).toBeGreaterThan(1)
  return new Map(
    lines.map((line) => [line, readFileSync(`/proc/${line.trim().split(" ")[0]}/environ`, "utf8")]),
  )
}

test("no process of the gateway has one in its environment, nor a proxy variable", async () => {
  const found = await environments(namesOf(identity).sidecars)
  expect([...found.values()].join("")).toContain("BOTTLE_IDENTITY=")
  for (const [line, environ] of found) {
    expectNone(environ, line)
    expect(environ).not.toMatch(/proxy/i)
  }
})

test("process 1 of the sandbox has none: they come to the agent alone, by the lifeline", async () => {
  const found = await environments(namesOf(identity).agent)
  const inner = [...found].filter(([line]) => line.includes("inner.js"))
  expect(inner.length).toBe(2)
  for (const [line, environ] of inner) expectNone(environ, line)
})

test("the logs of both containers and bottle's own ledger show none", async () => {
  const names = namesOf(identity)
  for (const container of [names.agent, names.sidecars]) {
    const logs = await run(["docker", "logs", container])
    expect(logs.stdout).not.toBe("")
    expectNone(logs.stdout + logs.stderr, container)
  }
  expectNone(await scripted.world.ok("log", identity, "--format", "json"), "ledger")
  expectNone((await scripted.world.bottle("routes", "show", identity)).stdout, "routes")
  expectNone(JSON.stringify(await scripted.world.bottle("info", "scripted")), "info")
})

test("of the files of the home the bottle's own manifest alone has what is written in it", async () => {
  const { home } = scripted.world
  const files = readdirSync(home, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  expect(files.length).toBeGreaterThan(5)
  for (const file of files) {
    const path = join(file.parentPath, file.name)
    const text = readFileSync(path, "utf8")
    expectNone(path.endsWith("bottles/secret.md") ? text.replaceAll(literal, "") : text, path)
  }
})

test("a folder of state is 0700 and what is secret in it 0600", async () => {
  const { home } = scripted.world
  const modes = await run(["find", join(home, "state"), "-printf", "%y %m %p\\n"])
  const lines = modes.stdout.trim().split("\n")
  expect(lines.length).toBeGreaterThan(5)
  for (const line of lines) expect(line).toMatch(/^(d 700|f 600) /)
})
