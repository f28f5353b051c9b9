/** `bottle doctor` through the command itself, on machines that lack what their PATH lacks. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { symlinkSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { join } from "node:path"
import { widthOf } from "../../src/runtime/output.ts"
import { BWRAP, fakedMachine } from "../fixtures/faked-machine.ts"
import { ManifestHome, manifest } from "../fixtures/manifest-home.ts"
import { onTerminal } from "../fixtures/terminal.ts"

setDefaultTimeout(60_000)

const MAIN = join(import.meta.dir, "../../src/main.ts")
const BOTTLE = [process.execPath, "--no-env-file", MAIN]

interface JsonNeed {
  name: string
  ok: boolean
  required: boolean
  found: string
  mend: string
}
interface Data {
  ok: boolean
  backends: { name: string; served: boolean; ok: boolean; needs: JsonNeed[] }[]
  needs: JsonNeed[]
}

async function bottle(home: ManifestHome, env: Record<string, string>, ...args: string[]) {
  const child = Bun.spawn([...BOTTLE, "doctor", ...args], {
    cwd: home.repo,
    env: { HOME: home.user, TERM: "xterm", PATH: process.env.PATH ?? "", ...env },
    stdout: "pipe",
    stderr: "pipe",
  })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { stdout, stderr, code }
}

async function doctorData(home: ManifestHome, env: Record<string, string>) {
  const { stdout, code, stderr } = await bottle(home, env, "--format", "json")
  expect(stderr).toBe("")
  return { data: JSON.parse(stdout) as Data, code }
}

const namesOf = (needs: JsonNeed[]) => needs.map(({ name }) => name)
const backend = (data: Data, name: string) => data.backends.find((one) => one.name === name)!

test("doctor tells of every backend and of bottle itself, and its status says whether one works", async () => {
  using home = new ManifestHome({
    "bottles/dev.md": manifest(""),
    "agents/worker.md": manifest("bottle: dev"),
  })
  const { data, code } = await doctorData(home, {})
  expect(data.backends.map(({ name }) => name).sort()).toEqual(["bubblewrap", "docker", "smolmachines"])
  expect(code).toBe(data.ok ? 0 : 1)
  expect(data.ok).toBe(data.backends.some(({ ok }) => ok))
  expect(backend(data, "smolmachines")).toMatchObject({ served: false, ok: false, needs: [] })
  expect(namesOf(data.needs)).toEqual(
    expect.arrayContaining(["home", "disk", "manifests", "TERM", "proxy", "extra CA", "agents", "tmux"]),
  )
  expect(data.needs.find(({ name }) => name === "manifests")).toMatchObject({
    ok: true,
    found: "1 bottle, 1 agent",
  })
  const met = [...data.needs, ...data.backends.flatMap(({ needs }) => needs)].filter(({ ok }) => ok)
  expect(met.filter(({ mend }) => mend !== "")).toEqual([])
})

test("on a machine without bwrap and docker no backend works, and each is followed by what installs it", async () => {
  using home = new ManifestHome()
  using nothing = fakedMachine()
  const env = { PATH: nothing.bin }
  const { data, code } = await doctorData(home, env)
  expect({ code, ok: data.ok }).toEqual({ code: 1, ok: false })
  expect(backend(data, "docker")).toMatchObject({ ok: false })
  expect(backend(data, "bubblewrap")).toMatchObject({ ok: false })
  const text = await bottle(home, env)
  expect(text.code).toBe(1)
  expect(text.stdout).toContain("No backend works")
  const lines = text.stdout.split("\n")
  const reds = data.backends.flatMap(({ needs }) => needs.filter((need) => need.required && !need.ok))
  expect(namesOf(reds)).toEqual(["docker command", "bwrap"])
  for (const { name, found, mend } of reds) {
    const at = lines.findIndex((line) => line.includes(`  no    ${name} `) && line.endsWith(found))
    expect({ name, next: lines[at + 1]?.trim() }).toEqual({ name, next: mend })
  }
  expect(text.stdout).not.toContain("\u001b")
  expect(lines.filter((line) => widthOf(line) > 80)).toEqual([])
})

test("an engine that never answers holds nobody up, nor does a docker command", async () => {
  using home = new ManifestHome()
  using there = fakedMachine()
  there.program("docker", "trap '' TERM; exec sleep 60")
  there.program("bwrap", BWRAP)
  symlinkSync("/bin/sleep", join(there.bin, "sleep"))
  const socket = join(there.bin, "engine.sock")
  const connections = new Set<Socket>()
  const engine = createServer((connection) => {
    connections.add(connection)
    connection.on("error", () => {})
  })
  await new Promise<void>((resolve) => engine.listen(socket, resolve))
  try {
    const started = Date.now()
    const env = { PATH: there.bin, DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: there.bin }
    const { data, code } = await doctorData(home, env)
    // The command would sleep for a minute, and the engine for ever.
    expect(Date.now() - started).toBeLessThan(20_000)
    const needs = backend(data, "docker").needs
    expect(connections.size).toBeGreaterThan(0)
    expect(needs.find(({ name }) => name === "engine")).toMatchObject({
      ok: false,
      found: "Docker did not answer within 1 s",
      mend: "unset DOCKER_HOST DOCKER_CONTEXT",
    })
    expect(code).toBe(data.ok ? 0 : 1)
    expect(backend(data, "docker").ok).toBe(false)
  } finally {
    for (const connection of connections) connection.destroy()
    engine.close()
  }
})

test("what an engine says of itself that makes bottles worse is a note, and an old Compose is refused", async () => {
  using home = new ManifestHome()
  using there = fakedMachine()
  there.program("docker", 'case "$*" in "compose version --short") echo 2.19.1;; *) exit 1;; esac')
  const socket = join(there.bin, "engine.sock")
  const info = {
    ServerVersion: "27.0.1",
    MemoryLimit: true,
    PidsLimit: false,
    CpuCfsQuota: false,
    DockerRootDir: there.bin,
    SystemTime: new Date(Date.now() - 600_000).toISOString(),
    SecurityOptions: ["name=seccomp,profile=builtin", "name=rootless"],
    Runtimes: { runc: {}, runsc: {} },
  }
  await using _engine = Bun.serve({ unix: socket, fetch: () => Response.json(info) })
  const env = { PATH: there.bin, DOCKER_CONFIG: there.bin, DOCKER_HOST: `unix://${socket}` }
  const { data } = await doctorData(home, env)
  const { ok, needs } = backend(data, "docker")
  expect(ok).toBe(false)
  const need = (name: string) => needs.find((one) => one.name === name)
  expect(need("engine")).toMatchObject({ ok: true, found: `27.0.1, ${socket}` })
  expect(need("Compose")).toMatchObject({
    ok: false,
    required: true,
    found: "2.19.1: 2.20 or newer is needed",
  })
  expect(need("limits")).toMatchObject({ ok: false, required: false })
  expect(need("limits")!.found).toEndWith(": pids, cpus")
  expect(need("clock")).toMatchObject({ ok: false, required: false })
  expect(need("clock")!.found).toMatch(/ (599|60\d) s apart /)
  expect(need("rootless")).toMatchObject({ ok: false, required: false })
  expect(need("gVisor")).toMatchObject({ ok: true })
  expect(need("disk")!.found).toContain(` GiB free for images in ${there.bin}`)
})

test("an engine that does not run, and an extra authority that is not there, are told with their commands", async () => {
  using home = new ManifestHome()
  using there = fakedMachine()
  there.program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
  const env = {
    PATH: there.bin,
    DOCKER_CONFIG: there.bin,
    DOCKER_HOST: `unix://${join(there.bin, "none.sock")}`,
    BOTTLE_EXTRA_CA_CERTS: join(there.bin, "none.pem"),
  }
  const { data } = await doctorData(home, env)
  const engine = backend(data, "docker").needs.find(({ name }) => name === "engine")
  expect(engine).toMatchObject({ ok: false, required: true, found: "Cannot connect to the Docker daemon" })
  expect(engine!.mend).not.toBe("")
  const authority = data.needs.find(({ name }) => name === "extra CA")
  expect(authority).toMatchObject({ ok: false, mend: "unset BOTTLE_EXTRA_CA_CERTS" })
})

test("a terminal of 80 columns gets colour, and NO_COLOR gets none", async () => {
  using home = new ManifestHome()
  using nothing = fakedMachine()
  const run = async (more: Record<string, string>) => {
    // Set from outside, because the machine within has no programs at all.
    const script = 'stty cols 80; PATH="$EMPTY" "$@"; echo "ended=$?"'
    await using screen = onTerminal(["sh", "-c", script, "sh", ...BOTTLE, "doctor"], {
      cwd: home.repo,
      env: { HOME: home.user, TERM: "xterm", PATH: process.env.PATH ?? "", EMPTY: nothing.bin, ...more },
    })
    return await screen.sees("ended=1")
  }
  const coloured = await run({})
  expect(coloured).toContain("\u001b[31mno\u001b[39m")
  const lines = coloured.replace(/\u001b\[\d+m/g, "").split(/\r?\n/)
  expect(lines.filter((line) => widthOf(line) > 80)).toEqual([])
  expect(await run({ NO_COLOR: "1" })).not.toContain("\u001b[31m")
})
