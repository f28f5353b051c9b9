/** Help and wrong calls, as the command itself answers them. */
import { expect, test } from "bun:test"
import { join } from "node:path"
import { VERBS } from "../../src/cli/verbs.ts"
import { run } from "../../src/runtime/spawn.ts"

const MAIN = join(import.meta.dir, "../../src/main.ts")
const { NO_COLOR: _, FORCE_COLOR: __, ...env } = process.env
const bottle = (...args: string[]) => run([process.execPath, "--no-env-file", MAIN, ...args], { env })

test("help names every verb, on stdout and without colour in a pipe", async () => {
  const { code, stdout } = await bottle("help")
  expect(code).toBe(0)
  for (const verb of Object.keys(VERBS)) expect(stdout).toContain(`  ${verb} `)
  expect(stdout).not.toContain("\u001b")
})

test("every verb has a help of its own, without colour in a pipe and within 80 columns", async () => {
  for (const verb of Object.keys(VERBS)) {
    const { code, stdout } = await bottle(verb, "--help")
    expect({ verb, code }).toEqual({ verb, code: 0 })
    expect(stdout).toContain(`bottle ${verb}`)
    expect(stdout).not.toContain("\u001b")
    const wide = stdout.split("\n").filter((line) => line.trimEnd().length > 80)
    expect({ verb, wide }).toEqual({ verb, wide: [] })
  }
})

test("no command, an unknown one and an unknown option are usage errors, each with what was meant", async () => {
  const cases: [string[], string][] = [
    [[], "usage:"],
    [["strat"], "bottle start"],
    [["list", "active", "--formt", "json"], "--format"],
    [["routes"], "show, edit"],
  ]
  for (const [args, said] of cases) {
    const { code, stdout, stderr } = await bottle(...args)
    expect({ args, code }).toEqual({ args, code: 2 })
    expect(stderr).toContain(said)
    expect(stdout).toBe("")
  }
})
