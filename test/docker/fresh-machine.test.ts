/** A clone of the project on a Debian with nothing installed, and the way out to package sources that every one has. */
import { beforeAll, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { proxyVariables } from "../../src/image/build.ts"
import { run } from "../../src/runtime/spawn.ts"

const project = join(import.meta.dirname, "..", "..")
const debian = process.env.BOTTLE_BASE_DEBIAN ?? ""
let clone: Buffer

/** The files that a clone would have, as they are now. */
beforeAll(async () => {
  expect(debian).not.toBe("")
  const listed = await run(["git", "ls-files", "-z", "--deduplicate"], { cwd: project })
  const tar = Bun.spawn(["tar", "--create", "--null", "--ignore-failed-read", "--files-from=-"], {
    cwd: project,
    stdin: new Blob([listed.stdout]),
    stderr: "ignore",
  })
  clone = Buffer.from(await new Response(tar.stdout).arrayBuffer())
  expect(clone.length).toBeGreaterThan(100_000)
})

/** A fresh machine with the clone in /clone. */
async function freshMachine() {
  const name = `bottle-test-fresh-${randomBytes(6).toString("hex")}`
  const options = proxyVariables(process.env).flatMap((variable) => ["--env", variable])
  const roots = process.env.BOTTLE_EXTRA_CA_CERTS
  if (roots) {
    options.push("--volume", `${roots}:/extra-roots.pem:ro`, "--env", "NODE_EXTRA_CA_CERTS=/extra-roots.pem")
  }
  const docker = async (...args: string[]) => {
    const done = await run(["docker", ...args])
    if (done.code !== 0) throw new Error(`docker ${args[0]}: ${done.stderr}`)
  }
  await docker("run", "--detach", "--init", "--name", name, ...options, debian, "sleep", "infinity")
  const machine = {
    exec: (user: string, ...argv: string[]) => run(["docker", "exec", "--user", user, name, ...argv]),
    [Symbol.asyncDispose]: () => docker("rm", "--force", "--volumes", name),
  }
  try {
    const unpack = ["docker", "exec", "--interactive", name]
    const unpacked = await run([...unpack, "sh", "-c", "mkdir /clone && tar -x -C /clone"], { input: clone })
    if (unpacked.code !== 0) throw new Error(unpacked.stderr)
    return machine
  } catch (error) {
    await machine[Symbol.asyncDispose]()
    throw error
  }
}

test("a clone runs after one command, which says what it installs before it does, and again at once", async () => {
  await using machine = await freshMachine()
  for (const tool of ["bun", "npm", "node", "bwrap"]) {
    expect((await machine.exec("0", "sh", "-c", `command -v ${tool}`)).code).not.toBe(0)
  }

  const first = await machine.exec("0", "/clone/scripts/bottle", "--version")
  expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  const said = first.stderr.split("\n").filter((line) => line.startsWith("bottle: "))
  expect(said).toEqual([
    "bottle: needs Bun 1.4 or newer, and found neither it nor npm to install it with",
    "bottle: installing npm with apt-get: npm ca-certificates",
    expect.stringMatching(/^bottle: installing Bun 1\.\d+\.\d+ from the npm registry into \/root\/\.cache/),
    "bottle: installing the locked dependencies",
  ])
  expect((await machine.exec("0", "sh", "-c", "command -v bwrap")).code).not.toBe(0)

  const again = await machine.exec("0", "/clone/scripts/bottle", "--version")
  expect(again).toEqual({ code: 0, stdout: first.stdout, stderr: "" })

  // A start needs something that isolates; there is no such agent, and so it ends before it uses it.
  const start = await machine.exec("0", "/clone/scripts/bottle", "start", "nobody")
  expect(start.code).not.toBe(0)
  expect(start.stderr).toStartWith("bottle: installing bubblewrap with apt-get: bubblewrap\n")
  expect((await machine.exec("0", "bwrap", "--version")).code).toBe(0)
  const next = await machine.exec("0", "/clone/scripts/bottle", "start", "nobody")
  expect(next.stderr).not.toContain("installing")
})

test("without root and sudo, nothing is installed and the command for it is told", async () => {
  await using machine = await freshMachine()
  const refused = await machine.exec("1000:1000", "env", "HOME=/tmp", "/clone/scripts/bottle", "--version")
  expect(refused).toMatchObject({ code: 1, stdout: "" })
  expect(refused.stderr).toContain("bottle: npm is missing, and installing it needs root")
  expect(refused.stderr).toContain(
    "next: as root, run: apt-get update && apt-get install --no-install-recommends npm ca-certificates",
  )
  expect((await machine.exec("0", "sh", "-c", "command -v npm")).code).not.toBe(0)
})

test("through sudo, packages are installed where it asks for no password, and not where nobody can type one", async () => {
  await using machine = await freshMachine()
  const root = (line: string) => machine.exec("0", "sh", "-c", line)
  const install = () =>
    machine.exec(
      "1000",
      "bash",
      "-c",
      ". /clone/scripts/lib/packages.sh && install_packages bubblewrap bubblewrap",
    )
  expect(await root("useradd --uid 1000 someone")).toMatchObject({ code: 0 })
  expect(
    await root("apt-get update -qq && apt-get install -y -qq --no-install-recommends sudo"),
  ).toMatchObject({
    code: 0,
  })

  const refused = await install()
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("installing it needs root") })

  await root("echo 'someone ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/someone")
  const installed = await install()
  expect(installed).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/^bottle: installing bubblewrap with apt-get, through sudo: bubblewrap\n/),
  })
  expect((await machine.exec("1000", "bwrap", "--version")).code).toBe(0)
})
