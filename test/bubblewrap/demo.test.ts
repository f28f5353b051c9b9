/** `bottle demo` as people have it: one file in an empty folder, nothing set up, called by root and by an ordinary user. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import {
  chmodSync,
  chownSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { startDemoBottle } from "../../src/demo/bottle.ts"
import { ALLOWED_HOST, CLOSED_HOST, makeHome, PLACEHOLDER } from "../../src/demo/home.ts"
import { isGreeted, startNetwork } from "../../src/demo/service.ts"
import type { Stage } from "../../src/demo/stage.ts"
import { CHAPTERS } from "../../src/demo/steps.ts"
import { toolsOf } from "../../src/demo/tools.ts"
import { widthOf } from "../../src/runtime/output.ts"
import { run } from "../../src/runtime/spawn.ts"
import { StartScope } from "../../src/session/scope.ts"
import { allProcesses, described, read } from "../contract/objects.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"
import { onTerminal } from "../fixtures/terminal.ts"

const PROJECT = join(import.meta.dir, "..", "..")
const PROGRAM = process.env.BOTTLE_CONTRACT_PROGRAM ?? join(PROJECT, "dist", "bottle")
/** A number that no account has */
const ORDINARY = { uid: 54321, gid: 54321 }
/** What the demo may take from start to end, in milliseconds */
const DEMO_MAX_MS = 10_000
const TOKEN = /demo-[0-9a-f]{20}/
const STEPS = CHAPTERS.flatMap((chapter) => chapter.steps)

setDefaultTimeout(120_000)

interface Caller {
  name: string
  as?: { uid: number; gid: number }
}

/** Somebody's world: a home, a folder for what is temporary, and the program alone in a third. */
interface World {
  /** Folder of all, absolute */
  root: string
  program: string
  cwd: string
  env: Record<string, string>
  /** What there is of the demo besides caches: names of files, and processes */
  remains(): { files: string[]; processes: string[] }
}

function createWorld({ as }: Caller): World {
  const root = mkdtempSync(join(tmpdir(), "bottle-of-demo-"))
  chmodSync(root, 0o755)
  const [home, temporary, cwd] = ["user", "temporary", "alone"].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ]
  for (const folder of [home, temporary, cwd]) {
    mkdirSync(folder, { mode: 0o700 })
    if (as !== undefined) chownSync(folder, as.uid, as.gid)
  }
  const program = join(cwd, "bottle")
  copyFileSync(PROGRAM, program, constants.COPYFILE_FICLONE)
  chmodSync(program, 0o755)
  return {
    root,
    program,
    cwd,
    env: { HOME: home, TMPDIR: temporary, PATH: "/usr/bin:/bin" },
    remains: () => ({
      files: [
        ...readdirSync(temporary),
        ...readdirSync(home).filter((name) => name !== ".cache"),
        ...readdirSync(cwd).filter((name) => name !== "bottle"),
      ],
      processes: allProcesses()
        .filter((pid) => isOf(pid, basename(root)))
        .map((pid) => described(pid)?.args ?? "")
        .filter((args) => args !== ""),
    }),
  }
}

/** Whether a process has to do with a folder of that name: its program, its arguments, its variables or its mounts. */
function isOf(pid: number, folder: string): boolean {
  if (pid === process.pid) return false
  const places = ["cmdline", "environ", "mountinfo"].map((name) => read(`/proc/${pid}/${name}`))
  return [...places, link(pid, "exe"), link(pid, "cwd")].some((text) => text.includes(folder))
}

function link(pid: number, name: string): string {
  try {
    return readlinkSync(`/proc/${pid}/${name}`)
  } catch {
    return ""
  }
}

const NOTHING = { files: [], processes: [] }
/** A keeper that got no plan ends when it sees that its host has gone: at once, and a little later. In milliseconds. */
const GONE_WITHIN_MS = 5000

async function nothingRemains(world: World): Promise<void> {
  const until = Date.now() + GONE_WITHIN_MS
  while (world.remains().processes.length > 0 && Date.now() < until) await Bun.sleep(10)
  expect(world.remains()).toEqual(NOTHING)
}

for (const caller of [{ name: "root" }, { name: "an ordinary user", as: ORDINARY }] satisfies Caller[]) {
  describe(`called by ${caller.name}`, () => {
    let world: World
    beforeAll(() => {
      if (process.getuid?.() !== 0) throw new Error("these tests are run by root, who can be every caller")
      world = createWorld(caller)
    })
    afterAll(() => rmSync(world.root, { recursive: true, force: true }))

    const demo = (args: string[] = [], env: Record<string, string> = {}) =>
      run([world.program, "demo", ...args], {
        cwd: world.cwd,
        env: { ...world.env, ...env },
        ...("as" in caller ? { as: caller.as } : {}),
      })
    const demoOnTerminal = () =>
      onTerminal([world.program, "demo"], {
        cwd: world.cwd,
        env: { ...world.env, TERM: "xterm-256color" },
        ...("as" in caller ? caller.as : {}),
      })

    test("the program alone tells the story to its end, within seconds, and leaves nothing", async () => {
      const from = performance.now()
      const { code, stdout, stderr } = await demo()
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(performance.now() - from).toBeLessThan(DEMO_MAX_MS)
      const lines = stdout.split("\n")
      expect(lines.filter((line) => line.startsWith("\u2713 ok    "))).toHaveLength(STEPS.length)
      for (const { title } of CHAPTERS) expect(stdout).toContain(title)
      expect(lines.filter((line) => widthOf(line) > 80)).toEqual([])
      // A pipe gets no colours.
      expect(stdout).not.toContain("\u001b")
      expect(stdout).toContain("bottle init")
      expect(stdout).not.toMatch(TOKEN)
      await nothingRemains(world)
    })

    test("each step is an object of its own for scripts", async () => {
      const { code, stdout, stderr } = await demo(["--format", "json"])
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      const told = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
      expect(told.map(({ name, ok }) => ({ name, ok }))).toEqual(
        STEPS.map(({ name }) => ({ name, ok: true })),
      )
      for (const one of told) {
        expect(Object.keys(one)).toEqual(["name", "ok", "tried", "seen"])
        expect(one.tried).not.toBe("")
        expect(one.seen).not.toBe("")
      }
      expect(stdout).not.toMatch(TOKEN)
    })

    for (const [moment, text, runs] of [
      ["before anything is started", "removed at the end", false],
      ["when the bottle is there", "started", true],
      ["while the agent tries its walls", "There is no other way out", true],
    ] as const) {
      test(`Ctrl-C ${moment} takes all of it back`, async () => {
        await using terminal = demoOnTerminal()
        await terminal.sees(text)
        // Held there, so that it is neither further nor at its end by now.
        terminal.kill("SIGSTOP")
        const { files, processes } = world.remains()
        if (runs) {
          expect(files).toEqual([expect.stringMatching(/^bottle-demo-/)])
          expect(processes.filter((args) => args.includes("sidecar:inner"))).not.toEqual([])
        }
        terminal.type("\u0003")
        terminal.kill("SIGCONT")
        expect(await terminal.exited).toBe(130)
        await nothingRemains(world)
      })
    }

    test("a closed window takes all of it back", async () => {
      await using terminal = demoOnTerminal()
      await terminal.sees("printenv")
      terminal.hangUp()
      await terminal.exited
      await nothingRemains(world)
    })

    test("a reader who has seen enough takes nothing away from the end", async () => {
      const line = '"$0" demo | head -n 5'
      const { stdout, stderr } = await run(["bash", "-o", "pipefail", "-c", line, world.program], {
        cwd: world.cwd,
        env: world.env,
        ...("as" in caller ? { as: caller.as } : {}),
      })
      expect(stdout.trimEnd().split("\n")).toHaveLength(5)
      expect(stderr).toBe("")
      await nothingRemains(world)
    })

    test("a wall with a hole ends it with exit 1, and names what does not hold", async () => {
      using bin = temporaryFolder()
      chmodSync(bin.path, 0o755)
      const bwrap = Bun.which("bwrap", { PATH: world.env.PATH ?? "" })
      const hole = `case "$*" in *sidecar:inner*) set -- --ro-bind /etc/shadow /etc/shadow "$@" ;; esac`
      writeFileSync(join(bin.path, "bwrap"), `#!/bin/sh\n${hole}\nexec ${bwrap} "$@"\n`)
      chmodSync(join(bin.path, "bwrap"), 0o755)
      const env = { PATH: `${bin.path}:${world.env.PATH}` }
      const { code, stdout, stderr } = await demo([], env)
      expect(code).toBe(1)
      expect(stdout).toContain("\u2717 FAIL  It is there")
      expect(stderr).toContain("What a bottle promises does not hold here: host-passwords")
      const asData = await demo(["--format", "json"], env)
      expect(asData.code).toBe(1)
      expect(JSON.parse(asData.stdout.trim().split("\n").at(-1)!)).toMatchObject({
        name: "host-passwords",
        ok: false,
      })
      await nothingRemains(world)
    })

    test("without bwrap it begins nothing, and says how to get it as doctor does", async () => {
      using bin = temporaryFolder()
      const { code, stdout, stderr } = await demo([], { PATH: bin.path })
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
      expect(stderr).toContain("The demo runs on bubblewrap, which does not work here yet")
      expect(stderr).toMatch(/no +bwrap +not installed/)
      expect(stderr).toContain("install bubblewrap")
      await nothingRemains(world)
    })
  })
}

test("from source, scripts/bottle tells the same story", async () => {
  using folder = temporaryFolder()
  const { code, stdout } = await run([join(PROJECT, "scripts", "bottle"), "demo", "--format", "json"], {
    cwd: folder.path,
    env: { ...process.env, TMPDIR: folder.path },
  })
  expect(code).toBe(0)
  expect(stdout.trim().split("\n")).toHaveLength(STEPS.length)
  expect(readdirSync(folder.path).filter((name) => name.startsWith("bottle-demo-"))).toEqual([])
})

describe("in a bottle of the demo's", () => {
  /** Runs the work with a real bottle, and tools for a sandbox that has those programs. */
  async function withStage(programs: string[], work: (stage: Stage) => Promise<void>): Promise<void> {
    using userHome = temporaryFolder()
    const token = ["demo", crypto.randomUUID()].join("-")
    const scope = new StartScope(() => {})
    using _ = { [Symbol.dispose]: () => void scope.release() }
    await using network = await startNetwork([ALLOWED_HOST, CLOSED_HOST])
    await using home = makeHome(network, token, { PATH: process.env.PATH, HOME: userHome.path })
    await using bottle = await startDemoBottle(home, scope)
    const tools = toolsOf(new Set(programs))
    const port = network.bystanderPort
    await work({
      identity: bottle.identity,
      allowed: ALLOWED_HOST,
      closed: CLOSED_HOST,
      token,
      placeholder: PLACEHOLDER,
      outside: { address: "192.0.2.1", tcpPort: 443, udpPort: 53, name: "example.com" },
      hostFolder: home.home,
      tools,
      sh: (command) => bottle.sh(`${tools.prelude}${command}`),
      calls: () => network.calls,
      bystander: { port, answersHost: () => isGreeted(port), visits: network.visits },
      open: bottle.open,
      ledger: bottle.ledger,
    })
  }
  const outcomeOf = (stage: Stage, name: string) => {
    const step = STEPS.find((one) => one.name === name)!
    return step.run(stage, step.tried(stage))
  }

  test("a sandbox without curl, bash and getent shows the same by the runtime that it has", async () => {
    await withStage([], async (stage) => {
      for (const step of STEPS) {
        const tried = step.tried(stage)
        expect(tried).not.toMatch(/curl|bash|getent/)
        const { holds, says, seen } = await step.run(stage, tried)
        expect({ name: step.name, holds, says, seen }).toMatchObject({ name: step.name, holds: true })
      }
    })
  })

  test("a host is told as closed and as open by what the policy is, and the record by what was called", async () => {
    await withStage(["curl", "bash", "getent"], async (stage) => {
      expect(await outcomeOf(stage, "ledger")).toMatchObject({ holds: false })
      expect(await outcomeOf(stage, "opened-host")).toMatchObject({ holds: false })
      expect(await outcomeOf(stage, "refused-host")).toMatchObject({ holds: true })
      expect(await outcomeOf(stage, "policy-change")).toMatchObject({ holds: true })
      expect(await outcomeOf(stage, "refused-host")).toMatchObject({ holds: false })
      expect(await outcomeOf(stage, "opened-host")).toMatchObject({ holds: true })
      expect(await outcomeOf(stage, "allowed-call")).toMatchObject({ holds: true })
      expect(await outcomeOf(stage, "ledger")).toMatchObject({ holds: true })
    })
  })
})
