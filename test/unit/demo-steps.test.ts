/**
 * The demo's judgements, tried where no sandbox is: each must take what it sees there for a breach. Everything is real
 * but for the sandbox, and stays on this machine's loopback.
 */
import { expect, test } from "bun:test"
import { chmodSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { isGreeted, startNetwork } from "../../src/demo/service.ts"
import type { Seen, Stage } from "../../src/demo/stage.ts"
import type { Step } from "../../src/demo/step.ts"
import { CHAPTERS } from "../../src/demo/steps.ts"
import { toolsOf } from "../../src/demo/tools.ts"
import { run } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const ALLOWED = "api.demo.example"
const CLOSED = "files.demo.example"
/** Long enough for what waits for an answer that never comes, in milliseconds */
const COMMAND_MS = 2000
/** Nobody's account: a step tries to write below /usr, which must not succeed on the host */
const ORDINARY = { uid: 54321, gid: 54321 }
const isRoot = process.getuid!() === 0

const STEPS = CHAPTERS.flatMap((chapter) => chapter.steps)
const BY_AGENT = STEPS.filter((step) => step.who === "agent")

function stepNamed(name: string): Step {
  const step = STEPS.find((one) => one.name === name)
  if (step === undefined) throw new Error(`there is no step ${name}`)
  return step
}

interface Host extends AsyncDisposable {
  stage: Stage
}

/** This machine as the stage, with commands that `sh` runs; without one, as they are. */
async function host(sh?: (command: string) => Promise<Seen>): Promise<Host> {
  await using opened = new AsyncDisposableStack()
  const folder = opened.use(temporaryFolder())
  chmodSync(folder.path, 0o755)
  const hostFolder = join(folder.path, "home")
  mkdirSync(hostFolder)
  const network = opened.use(await startNetwork([ALLOWED, CLOSED]))
  const authority = join(folder.path, "authority.pem")
  writeFileSync(authority, network.authority)
  const token = ["demo", crypto.randomUUID()].join("-")
  const env = {
    PATH: process.env.PATH,
    LC_ALL: "C",
    TOKEN: token,
    HTTPS_PROXY: `http://127.0.0.1:${network.proxyPort}`,
    CURL_CA_BUNDLE: authority,
  }
  const asIs = async (command: string): Promise<Seen> => {
    const argv = ["timeout", String(COMMAND_MS / 1000), "sh", "-c", command]
    return await run(argv, { env, cwd: "/", ...(isRoot ? { as: ORDINARY } : {}) })
  }
  const all = opened.move()
  const port = network.bystanderPort
  const stage: Stage = {
    identity: "demo-00000",
    allowed: ALLOWED,
    closed: CLOSED,
    token,
    placeholder: "placeholder-worth-nothing",
    // What stands for the world here is this machine.
    outside: { address: "127.0.0.1", tcpPort: port, udpPort: port, name: "localhost" },
    hostFolder,
    tools: toolsOf(new Set(["curl", "bash", "getent"])),
    sh: sh ?? asIs,
    calls: () => network.calls,
    bystander: { port, answersHost: () => isGreeted(port), visits: network.visits },
    open: async () => 1,
    ledger: async () => ({ entries: [], whole: true, says: "0 entries in one chain" }),
  }
  return { stage, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

const BREACHES: Record<string, string> = {
  placeholder: "The real token is in its environment",
  "allowed-call": "The real token came back to the agent",
  "refused-host": "The request arrived at a host that no route names",
  "raw-socket": "The kernel did not say that there is no way out",
  "dns-server": "The kernel did not say that there is no way out",
  "dns-name": "The sandbox resolves names",
  "host-loopback": "The agent reached a port of this machine",
  "host-files": "It is there",
  "host-passwords": "It is there",
  "no-root": "The system's owner is somebody in there",
}

for (const [name, says] of Object.entries(BREACHES)) {
  test(`without a sandbox the step ${name} is told as a breach`, async () => {
    await using made = await host()
    const step = stepNamed(name)
    const outcome = await step.run(made.stage, step.tried(made.stage))
    expect({ holds: outcome.holds, says: outcome.says }).toEqual({ holds: false, says })
  })
}

test("a token at a host whose route names none is told as a breach", async () => {
  await using made = await host()
  const step = stepNamed("opened-host")
  const outcome = await step.run(made.stage, made.stage.tools.fetch(`https://${CLOSED}/`, true))
  expect(outcome).toMatchObject({ holds: false, says: "A token went to a host that has none" })
})

test("a policy that did not become live is told as a breach", async () => {
  await using made = await host()
  const outcome = await stepNamed("policy-change").run(made.stage, "")
  expect(outcome).toMatchObject({ holds: false, says: "The policy did not change" })
})

test("a record without the calls is told as a breach", async () => {
  await using made = await host()
  const outcome = await stepNamed("ledger").run(made.stage, "")
  expect(outcome).toMatchObject({ holds: false, says: "Calls are missing in the record" })
})

test("a port that does not even answer the host shows nothing, and is told so", async () => {
  await using made = await host()
  const step = stepNamed("host-loopback")
  const bystander = { ...made.stage.bystander, answersHost: async () => false }
  const outcome = await step.run({ ...made.stage, bystander }, "exit 1")
  expect(outcome.holds).toBe(false)
  expect(outcome.says).toContain("nothing was shown")
})

for (const [what, sh] of [
  ["succeeds without doing anything", () => run(["true"])],
  ["fails without doing anything", () => run(["false"])],
  ["does not know the command", () => run(["sh", "-c", "no-such-command-anywhere"])],
  ["does not end in time", async () => ({ code: undefined, stdout: "", stderr: "" })],
] as const) {
  test(`where every command ${what}, no wall has been shown to hold`, async () => {
    await using made = await host(sh)
    const held: string[] = []
    for (const step of BY_AGENT) {
      if ((await step.run(made.stage, step.tried(made.stage))).holds) held.push(step.name)
    }
    expect(held).toEqual([])
  })
}

test("the names of the steps are kebab-case and each is there once", () => {
  const names = STEPS.map((step) => step.name)
  expect(names.filter((name) => !/^[a-z]+(-[a-z]+)*$/.test(name))).toEqual([])
  expect(new Set(names).size).toBe(names.length)
  expect(Object.keys(BREACHES).every((name) => names.includes(name))).toBe(true)
})
