/** What doctor says of the host besides its backends. */
import { expect, test } from "bun:test"
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { dockerNeeds } from "../../src/backend/docker/needs.ts"
import type { Need } from "../../src/backend/types.ts"
import { folderNeeds } from "../../src/cli/doctor/folders.ts"
import { programNeeds } from "../../src/cli/doctor/programs.ts"
import { surroundingNeeds } from "../../src/cli/doctor/surroundings.ts"
import type { Machine } from "../../src/runtime/machine.ts"
import { certificateFor } from "../fixtures/certificate.ts"
import { fakedMachine } from "../fixtures/faked-machine.ts"
import { ManifestHome, manifest } from "../fixtures/manifest-home.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const NOW = new Date("2026-11-21T08:00:00Z")
const never = new AbortController().signal

function needOf(needs: Need[], name: string): Need {
  const need = needs.find((one) => one.name === name)
  if (need === undefined) throw new Error(`nothing is said of ${name}: ${needs.map((one) => one.name)}`)
  return need
}

function around(name: string, env: Record<string, string>, now = NOW): Need {
  using there = fakedMachine()
  return needOf(surroundingNeeds({ ...there.machine, env }, now), name)
}

test("a terminal that cannot draw is a note with the export that mends it", () => {
  for (const env of [{}, { TERM: "" }, { TERM: "dumb" }] as Record<string, string>[]) {
    const need = around("TERM", env)
    expect(need).toMatchObject({ ok: false, required: false, mend: "export TERM=xterm-256color" })
  }
  expect(around("TERM", { TERM: "xterm-256color" }).found).toBe("xterm-256color, 256 colours")
  expect(around("TERM", { TERM: "xterm", COLORTERM: "truecolor" }).found).toBe("xterm, true colour")
  expect(around("TERM", { TERM: "xterm", NO_COLOR: "1" }).found).toContain("no colour")
})

test("a proxy is shown without its password, and one that gateways cannot use is refused", () => {
  const password = ["s3c", "ret-", Math.random()].join("")
  const used = around("proxy", { HTTPS_PROXY: `http://me:${password}@proxy.example:3128` })
  expect(used).toMatchObject({ ok: true, found: "proxy.example:3128 (HTTPS_PROXY)" })
  const refused = around("proxy", { HTTPS_PROXY: `socks5://me:${password}@proxy.example` })
  expect(refused).toMatchObject({ ok: false, required: true, mend: "export BOTTLE_UPSTREAM_PROXY=none" })
  const nearby = around("proxy", { HTTPS_PROXY: `http://me:${password}@127.0.0.1:3128` })
  expect(nearby).toMatchObject({ ok: false, required: false })
  expect(nearby.found).toContain("those in containers do not")
  expect(JSON.stringify([used, refused, nearby])).not.toContain(password)
  expect(around("proxy", {})).toMatchObject({ ok: true })
})

test("extra authorities are counted, and missing, empty, broken and expired ones are refused", async () => {
  using folder = temporaryFolder()
  const file = join(folder.path, "roots.pem")
  const said = (now?: Date) => around("extra CA", { BOTTLE_EXTRA_CA_CERTS: file }, now)
  const refused = { ok: false, required: true, mend: "unset BOTTLE_EXTRA_CA_CERTS" }
  expect(said()).toMatchObject(refused)
  expect(said().found).toContain("Could not read")
  writeFileSync(file, "nothing\n")
  expect(said().found).toContain("holds no certificate")
  const { cert } = await certificateFor("a.example")
  writeFileSync(file, cert.replace("MII", "AAA"))
  expect(said()).toMatchObject({ ...refused, found: `one in ${file} does not parse` })
  writeFileSync(file, cert.slice(0, -40))
  expect(said().found).toContain("no whole certificate")
  writeFileSync(file, cert + cert)
  expect(said(new Date())).toMatchObject({ ok: true, mend: "" })
  expect(said(new Date()).found).toStartWith(`2 in ${file}, good until `)
  // The certificate is good for an hour.
  const later = said(new Date(Date.now() + 2 * 3_600_000))
  expect(later).toMatchObject(refused)
  expect(later.found).toContain("2 of them expired")
  expect(around("extra CA", {})).toMatchObject({ ok: true })
})

test("a clock of long ago is refused", () => {
  expect(around("clock", {})).toMatchObject({ ok: true, found: "2026-11-21 08:00 UTC" })
  const past = around("clock", {}, new Date(0))
  expect(past).toMatchObject({ ok: false, required: true, mend: "sudo timedatectl set-ntp true" })
})

function folders(home: string, machine: Partial<Machine> = {}): Need[] {
  using there = fakedMachine()
  const places = { home, cwd: join(home, ".."), userHome: join(home, "..") }
  return folderNeeds(places, { ...there.machine, ...machine })
}

test("a home that is not there yet is no fault, and its first agent is the next step", () => {
  using folder = temporaryFolder()
  const needs = folders(join(folder.path, "new", "home"))
  expect(needOf(needs, "home")).toMatchObject({ ok: true })
  expect(needOf(needs, "disk").found).toMatch(/^\d+\.\d GiB free$/)
  expect(needOf(needs, "manifests")).toMatchObject({ ok: false, required: false, mend: "bottle init" })
})

test("a home that is a file is refused, and nothing is said of manifests in it", () => {
  using folder = temporaryFolder()
  const home = join(folder.path, "it's a file")
  writeFileSync(home, "")
  const needs = folders(home)
  const need = needOf(needs, "home")
  expect(need).toMatchObject({ ok: false, required: true })
  expect(needs.map(({ name }) => name)).not.toContain("manifests")
  expect(Bun.spawnSync(["sh", "-c", need.mend]).exitCode).toBe(0)
  expect(statSync(`${home}.old`).isFile()).toBe(true)
})

test("a home that cannot be written is mended as its owner, or as root", async () => {
  using folder = temporaryFolder()
  const home = join(folder.path, "home")
  mkdirSync(home)
  chmodSync(home, 0o500)
  // Root may write anywhere, and is not asked here.
  const script = `
    import { folderNeeds } from ${JSON.stringify(join(import.meta.dir, "../../src/cli/doctor/folders.ts"))}
    import { thisMachine } from ${JSON.stringify(join(import.meta.dir, "../../src/runtime/machine.ts"))}
    const places = { home: process.argv[1], cwd: "/", userHome: "/" }
    const own = { ...thisMachine(), uid: Number(process.argv[2]) }
    console.log(JSON.stringify([own, { ...own, uid: own.uid + 1 }].map((one) => folderNeeds(places, one)[0])))`
  const root = process.getuid?.() === 0
  const uid = statSync(home).uid
  const child = Bun.spawn(
    [
      ...(root ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : []),
      process.execPath,
      "-e",
      script,
      home,
      String(uid),
    ],
    { stdout: "pipe" },
  )
  const [mine, others] = JSON.parse(await child.stdout.text())
  expect(mine).toMatchObject({ ok: false, required: true, mend: `chmod u+rwx ${home}` })
  expect(others).toMatchObject({ ok: false, required: true, mend: `sudo chown -R "$USER" ${home}` })
})

test("manifests are counted, and one with faults is named with the command that shows them", () => {
  const said = (files: Record<string, string>) => {
    using home = new ManifestHome(files)
    using there = fakedMachine()
    const needs = folderNeeds({ home: home.home, cwd: home.repo, userHome: home.user }, there.machine)
    return needOf(needs, "manifests")
  }
  const sound = { "bottles/dev.md": manifest(""), "agents/worker.md": manifest("bottle: dev") }
  expect(said(sound)).toMatchObject({ ok: true, found: "1 bottle, 1 agent" })
  const broken = said({ ...sound, "agents/other.md": manifest("bottle: nowhere") })
  expect(broken).toMatchObject({ ok: false, required: true, mend: "bottle list available" })
  expect(broken.found).toContain("1 bottle, 2 agents; with faults: other")
  const unused = said({ ...sound, "bottles/spare.md": manifest("nonsense: 1") })
  expect(unused).toMatchObject({ ok: false, mend: "bottle edit --bottle spare" })
})

test("agents on PATH are shown with their versions, and one that hangs or fails without", async () => {
  using there = fakedMachine()
  there.program("claude", 'echo "2.1.329 (Claude Code)"')
  there.program("codex", "trap '' TERM; exec sleep 60")
  const found = needOf(await programNeeds(there.machine, never), "agents")
  expect(found).toMatchObject({ ok: true, found: "claude 2.1.329, codex (does not say its version)" })
  there.program("codex", "exit 3")
  expect(needOf(await programNeeds(there.machine, never), "agents").found).toContain("codex (does not say")
})

test("tools that are missing are notes, each with its use and its own distribution's command", async () => {
  using debian = fakedMachine()
  const needs = await programNeeds(debian.machine, never)
  expect(needs.filter((need) => need.ok || need.required)).toEqual([])
  expect(needOf(needs, "ssh").mend).toBe("sudo apt install openssh-client")
  using mac = fakedMachine({}, { platform: "darwin" })
  expect(needOf(await programNeeds(mac.machine, never), "tmux").mend).toBe("brew install tmux")
  mac.program("tmux", "exit 0")
  expect(needOf(await programNeeds(mac.machine, never), "tmux")).toMatchObject({ ok: true, mend: "" })
})

test("without the docker command one command installs all of Docker that bottle uses", async () => {
  const cases: [Record<string, string>, string][] = [
    [{}, "sudo apt install docker.io docker-cli docker-compose docker-buildx"],
    [{ "/etc/os-release": "ID=ubuntu\nID_LIKE=debian" }, "docker-compose-v2"],
    [{ "/etc/os-release": "ID=arch" }, "sudo pacman -S docker docker-compose docker-buildx"],
    [{ "/etc/apt/sources.list.d/docker.sources": "" }, "docker-ce"],
  ]
  for (const [files, mend] of cases) {
    using there = fakedMachine(files)
    const needs = await dockerNeeds(never, there.machine)
    expect(needs).toHaveLength(1)
    expect(needs[0]).toMatchObject({ name: "docker command", ok: false, required: true })
    expect(needs[0]!.mend).toContain(mend)
  }
})
