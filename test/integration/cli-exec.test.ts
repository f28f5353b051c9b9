/** Calls of `bottle exec` that cannot be served: each is told what is wrong and what to do, and nothing is started. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { join } from "node:path"
import { createState, writeMetadata } from "../../src/bottle/state.ts"
import { currentOwner } from "../../src/runtime/process-owner.ts"
import { run } from "../../src/runtime/spawn.ts"
import { ManifestHome } from "../fixtures/manifest-home.ts"
import { someMetadata } from "../fixtures/metadata.ts"

// Each test starts a program or several, which takes its time on a busy machine.
setDefaultTimeout(60_000)

const MAIN = join(import.meta.dir, "../../src/main.ts")
const IDENTITY = "dev-k3x9a"

function bottle(home: ManifestHome, ...args: string[]) {
  return run([process.execPath, "--no-env-file", MAIN, ...args], {
    cwd: home.repo,
    env: { PATH: process.env.PATH ?? "", HOME: home.user, TERM: "dumb" },
  })
}

/** The state of a bottle on bubblewrap of which nothing runs. */
async function bottleOf(home: ManifestHome, about: Parameters<typeof someMetadata>[1]): Promise<void> {
  home.write(".keep", "")
  using state = await createState(home.home, IDENTITY)
  await writeMetadata(state, await someMetadata(IDENTITY, { backend: "bubblewrap", ...about }))
}

const calls: [string[], string][] = [
  [[IDENTITY], `bottle exec ${IDENTITY} -- bash`],
  [[IDENTITY, "--"], `bottle exec ${IDENTITY} -- bash`],
  [[IDENTITY, "git", "status"], `bottle exec ${IDENTITY} -- git status`],
  [["--", "git", "status"], "bottle exec <identity> -- git status"],
  [[], "bottle exec <identity> -- bash"],
]
for (const [args, form] of calls) {
  test(`\`bottle ${["exec", ...args].join(" ")}\` is told its right form`, async () => {
    using home = new ManifestHome()
    const { code, stdout, stderr } = await bottle(home, "exec", ...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
    expect(stderr).toContain(`Write: ${form}\n`)
  })
}

test("its help shows the form, and flags behind -- are the command's", async () => {
  using home = new ManifestHome()
  const help = await bottle(home, "exec", "--help")
  expect(help.code).toBe(0)
  expect(help.stdout).toContain("bottle exec <identity> -- command")
  const unknown = await bottle(home, "exec", IDENTITY, "--", "ls", "--help")
  expect(unknown.stderr).toContain(`There is no bottle named ${IDENTITY}`)
  expect((await bottle(home, "exec", IDENTITY, "--tty", "--", "ls")).code).toBe(2)
})

test("a bottle that is not there is told, and where to see those that are", async () => {
  using home = new ManifestHome()
  const { code, stderr } = await bottle(home, "exec", IDENTITY, "--", "true")
  expect(code).toBe(1)
  expect(stderr).toContain(`There is no bottle named ${IDENTITY}`)
  expect(stderr).toContain("bottle list active")
})

test("a bottle that is still starting is told with who starts it", async () => {
  using home = new ManifestHome()
  await bottleOf(home, { phase: "starting", owner: await currentOwner() })
  const { code, stderr } = await bottle(home, "exec", IDENTITY, "--", "true")
  expect(code).toBe(1)
  expect(stderr).toContain(`${IDENTITY} is still starting`)
  expect(stderr).toContain(`process ${process.pid} is bringing it up`)
})

test("a bottle whose start was cut short is told to be cleaned up", async () => {
  using home = new ManifestHome()
  // This process's number, as one had it that is gone.
  await bottleOf(home, { phase: "starting", owner: { ...(await currentOwner()), start_time: "1" } })
  const { code, stderr } = await bottle(home, "exec", IDENTITY, "--", "true")
  expect(code).toBe(1)
  expect(stderr).toContain("its start was cut short")
  expect(stderr).toContain("bottle cleanup")
})

test("a bottle whose agent has ended is told with the way back", async () => {
  using home = new ManifestHome()
  await bottleOf(home, { phase: "running" })
  const { code, stderr } = await bottle(home, "exec", IDENTITY, "--", "true")
  expect(code).toBe(1)
  expect(stderr).toContain(`${IDENTITY} does not run`)
  expect(stderr).toContain(`bottle resume ${IDENTITY}`)
})

test("a command that is too long is told before anything is asked, and how to give it otherwise", async () => {
  using home = new ManifestHome()
  const words = Array.from({ length: 6 }, () => "x".repeat(100_000))
  const { code, stderr } = await bottle(home, "exec", IDENTITY, "--", "echo", ...words)
  expect(code).toBe(2)
  expect(stderr).toContain("longer than 512 KiB")
  expect(stderr).toContain(`bottle exec ${IDENTITY} -- sh < file`)
})
