/** The choice of a backend as people see it, on machines that have one, the other or none. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type RunResult, run } from "../../src/runtime/spawn.ts"
import { ManifestHome, manifest } from "../fixtures/manifest-home.ts"

// Each test starts a program or several, which takes its time on a busy machine.
setDefaultTimeout(60_000)

const BOTTLE = [process.execPath, "--no-env-file", join(import.meta.dir, "../../src/main.ts")]
const COMMAND = "agent_provider: { template: command, command: [bash] }"
const NOTE = "last-backends.json"

/** A home with one agent, and a PATH that has these programs alone. */
class Machine implements Disposable {
  readonly home: ManifestHome
  readonly #path: string

  constructor(programs: string[], { backend }: { backend?: string } = {}) {
    const asks = backend === undefined ? "" : `\nbackend: ${backend}`
    this.home = new ManifestHome({
      "bottles/dev.md": manifest(`${COMMAND}${asks}`),
      "agents/dev.md": manifest("bottle: dev"),
    })
    this.#path = this.home.path("user/bin")
    mkdirSync(this.#path)
    for (const program of programs) {
      const found = Bun.which(program)
      if (found === null) throw new Error(`this test needs ${program}`)
      symlinkSync(found, join(this.#path, program))
    }
  }

  /** Notes that the agent ran there last. */
  ranOn(backend: string): void {
    const agents = { [this.home.path("agents/dev.md")]: { backend, at: new Date().toISOString() } }
    writeFileSync(this.home.path(NOTE), JSON.stringify({ version: 1, agents }))
  }

  start(args: string[], env: Record<string, string> = {}): Promise<RunResult> {
    return run([...BOTTLE, "start", "dev", "--yes", "--dry-run", ...args], {
      cwd: this.home.repo,
      env: { PATH: this.#path, HOME: this.home.user, TERM: "dumb", ...env },
    })
  }

  async planned(args: string[] = [], env: Record<string, string> = {}) {
    const result = await this.start(["--format", "json", ...args], env)
    if (result.code !== 0) throw new Error(result.stderr)
    return JSON.parse(result.stdout).backend as { name: string; chosen_by: string; notes: string[] }
  }

  [Symbol.dispose](): void {
    this.home[Symbol.dispose]()
  }
}

test("without Docker bubblewrap is taken, and the preflight's first line says why", async () => {
  using machine = new Machine(["bwrap", "bash"])
  const { stderr, code } = await machine.start([])
  expect(code).toBe(0)
  const [first = "", second = ""] = stderr.trimStart().split("\n")
  expect(first).toMatch(/^backend +bubblewrap \(first available; bubblewrap \d/)
  expect(second.trim()).toStartWith("docker: cannot run `docker`: it is not installed")
  const { name, chosen_by } = await machine.planned()
  expect(name).toBe("bubblewrap")
  expect(chosen_by).toBe("first available; docker: cannot run `docker`: it is not installed, or not on PATH")
})

test("the flag comes before BOTTLE_BACKEND, and that before the bottle", async () => {
  using machine = new Machine(["bwrap", "bash"], { backend: "bubblewrap" })
  const env = { BOTTLE_BACKEND: "bubblewrap" }
  expect((await machine.planned(["--backend", "bubblewrap"], env)).chosen_by).toBe("--backend")
  expect((await machine.planned([], env)).chosen_by).toBe("BOTTLE_BACKEND")
  expect((await machine.planned()).chosen_by).toBe("bottle dev")
  const other = await machine.start(["--backend", "docker"], env)
  expect(other.code).toBe(1)
  expect(other.stderr).toContain("The backend docker cannot be used here")
})

test("one that is asked for and missing is never replaced, whoever asked", async () => {
  using flag = new Machine(["bwrap", "bash"])
  using bottle = new Machine(["bwrap", "bash"], { backend: "docker" })
  for (const refused of [
    await flag.start(["--backend", "docker"]),
    await flag.start([], { BOTTLE_BACKEND: "docker" }),
    await bottle.start([]),
  ]) {
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain("The backend docker cannot be used here")
    expect(refused.stderr).toContain("it is not installed")
    expect(refused.stderr).toContain("Install Docker")
  }
})

test("an agent that ran on Docker last is not started on less by itself: what changed and both ways on are told", async () => {
  using machine = new Machine(["bwrap", "bash"])
  // The control: without that note it goes.
  expect((await machine.start([])).code).toBe(0)
  machine.ranOn("docker")
  const { code, stdout, stderr } = await machine.start([])
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
  expect(stderr).toContain("dev would be isolated less than last time")
  expect(stderr).toContain("ran on docker last, and now there is only bubblewrap")
  expect(stderr).toContain("docker: cannot run `docker`: it is not installed, or not on PATH")
  expect(stderr).toContain("next Install Docker")
  expect(stderr).toContain("--backend bubblewrap")
})

test("with an explicit word it goes, and the preflight marks it", async () => {
  using machine = new Machine(["bwrap", "bash"])
  machine.ranOn("docker")
  const mark = "isolates less than docker, which dev ran on last"
  const { code, stderr } = await machine.start(["--backend", "bubblewrap"])
  expect(code).toBe(0)
  expect(stderr).toContain(mark)
  expect((await machine.planned([], { BOTTLE_BACKEND: "bubblewrap" })).notes).toContain(mark)
  machine.ranOn("bubblewrap")
  expect((await machine.planned(["--backend", "bubblewrap"])).notes).not.toContain(mark)
})

test("a word that takes less than the bottle asks for is marked too", async () => {
  using machine = new Machine(["bwrap", "bash"], { backend: "docker" })
  const { notes } = await machine.planned(["--backend", "bubblewrap"])
  expect(notes).toContain("isolates less than docker, which bottle dev asks for")
})

test("one that this version does not serve is not replaced by less either", async () => {
  using machine = new Machine(["bwrap", "bash"])
  machine.ranOn("smolmachines")
  const { code, stderr } = await machine.start([])
  expect(code).toBe(1)
  expect(stderr).toContain("smolmachines: not served by this version")
  expect(stderr).toContain("Or agree to it: --backend bubblewrap")
})

test("a note that cannot be read stops nothing, and is not passed over in silence", async () => {
  using machine = new Machine(["bwrap", "bash"])
  machine.ranOn("docker")
  writeFileSync(machine.home.path(NOTE), '{"version":1,')
  const { name, notes } = await machine.planned()
  expect(name).toBe("bubblewrap")
  expect(notes[0]).toContain("is not known")
  expect(notes[0]).toContain(machine.home.path(NOTE))
})

test("what would only be planned is not noted", async () => {
  using machine = new Machine(["bwrap", "bash"])
  expect((await machine.start([])).code).toBe(0)
  expect(existsSync(machine.home.path(NOTE))).toBe(false)
})

test("where there is no backend at all, each is named with its reason and what mends it", async () => {
  using machine = new Machine(["bash"])
  const { code, stderr } = await machine.start([])
  expect(code).toBe(1)
  expect(stderr).toContain("No backend can be used here")
  expect(stderr).toMatch(/why +docker: cannot run `docker`/)
  expect(stderr).toMatch(/^ +bubblewrap: bwrap: /m)
  expect(stderr).toMatch(/next +Install Docker/)
  expect(stderr).toMatch(/^ +Run: .*bubblewrap/m)
})

test("a backend that nobody knows is told with those there are", async () => {
  using machine = new Machine(["bwrap", "bash"])
  const { code, stderr } = await machine.start(["--backend", "dokcer"])
  expect(code).toBe(2)
  expect(stderr).toContain('There is no backend "dokcer"')
  expect(stderr).toContain("docker, smolmachines, bubblewrap")
})
