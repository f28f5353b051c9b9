/** What the command line shows of text that is not its own, and which calls it refuses. */
import { describe, expect, test } from "bun:test"
import type { ArgsDef } from "citty"
import { selectDaemons } from "../../sidecars/init/daemons.ts"
import { errorText } from "../../src/cli/error-text.ts"
import { checkFlags } from "../../src/cli/flags.ts"
import { entryLine } from "../../src/cli/log-line.ts"
import { showableJson } from "../../src/policy/denial.ts"
import { chain, EMPTY_HEAD } from "../../src/policy/ledger.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { paint } from "../../src/runtime/output.ts"

const HOSTILE = "a\u001b]0;owned\u0007b\u009b2Jc\u202ed\u200be"
const ACTING = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e]/

test("an error shows nothing that a terminal would act on, and keeps its lines", () => {
  const error = new BottleError({ what: HOSTILE, why: `one\n${HOSTILE}\n\ttwo`, next: HOSTILE })
  const text = errorText(error).replace(/\u001b\[[0-9;]*m/g, "")
  expect(text).not.toMatch(ACTING)
  expect(text).toContain("  why  one\n")
  expect(text).toContain("    two")
})

test("an error that quotes a tool's colours shows its words", () => {
  const text = errorText(new BottleError({ what: "x", why: "\u001b[31mno space\u001b[0m left" }))
  expect(text).toContain("no space left")
})

test("a ledger entry shows nothing that a terminal would act on, for people and as JSON", () => {
  const data = { host: HOSTILE, path: `/${HOSTILE}`, rule: HOSTILE, n: 1 }
  const entry = chain(EMPTY_HEAD, { by: "egress", kind: "deny", data }, new Date(0))
  const line = entryLine(entry, paint("stdout")).replace(/\u001b\[[0-9;]*m/g, "")
  expect(line).not.toMatch(ACTING)
  const json = showableJson(entry)
  expect(json).not.toMatch(ACTING)
  expect(JSON.parse(json)).toEqual(entry)
  expect(JSON.parse(showableJson([entry], 2))).toEqual([entry])
})

describe("flags", () => {
  const defined: ArgsDef = {
    agent: { type: "positional" },
    yes: { type: "boolean", alias: "y" },
    prompt: { type: "string", alias: "p" },
  }
  const refuse = (...argv: string[]) => {
    try {
      checkFlags("bottle start", argv, defined)
    } catch (error) {
      return error as BottleError
    }
    throw new Error(`${argv.join(" ")} was taken`)
  }

  test("that are known are taken, in each spelling", () => {
    for (const argv of [["a", "--yes"], ["-y"], ["-p", "text"], ["--prompt=text", "a"], ["--prompt", "-"]])
      expect(checkFlags("bottle start", argv, defined)).toBeUndefined()
  })

  test("that are unknown, lack their value or come with one too many are refused with exit 2", () => {
    expect(refuse("--ye").next).toContain("--yes")
    expect(refuse("--prompt").what).toContain("needs a value")
    expect(refuse("--yes=false").what).toContain("takes no value")
    expect(refuse("a", "b").what).toContain('"b"')
    expect(refuse("--nothing-like-it").exitCode).toBe(2)
  })
})

describe("BOTTLE_SIDECAR_DAEMONS", () => {
  const names = (list: string | undefined) => {
    const { daemons, unknown } = selectDaemons(list)
    return { daemons: daemons.map(({ name }) => name), unknown }
  }
  test("unset means every daemon, empty means none", () => {
    expect(names(undefined)).toEqual({ daemons: ["egress"], unknown: [] })
    expect(names("")).toEqual({ daemons: [], unknown: [] })
    expect(names(" , ")).toEqual({ daemons: [], unknown: [] })
  })
  test("names that nobody knows are told, and a name twice is one daemon", () => {
    expect(names("egress, spy,egress")).toEqual({ daemons: ["egress"], unknown: ["spy"] })
  })
})
