import { expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { resolveEnv, resolveToken } from "../../src/bottle/env.ts"
import { findSkills } from "../../src/bottle/skills.ts"
import type { EnvValue, TokenSource } from "../../src/manifest/types.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { bottleHome, userHome } from "../../src/runtime/home.ts"
import { errorOf, ManifestHome } from "../fixtures/manifest-home.ts"

async function rejection(promise: Promise<unknown>): Promise<BottleError> {
  const error = await promise.then(
    () => new Error("nothing was thrown"),
    (reason: unknown) => reason,
  )
  if (error instanceof BottleError) return error
  throw error
}

const secret = () => randomBytes(12).toString("hex")
const nobody = () => Promise.reject(new Error("nothing may be asked"))

test("literals, host variables and answers become values, and answers are secrets", async () => {
  const [answer, short] = [secret(), "abc"]
  const env: Record<string, EnvValue> = {
    CI: { kind: "literal", value: "1" },
    URL: { kind: "host", variable: "API_URL" },
    PASSWORD: { kind: "asked", prompt: "Database password" },
    PIN: { kind: "asked", prompt: "" },
  }
  const questions: string[] = []
  const resolved = await resolveEnv(env, {
    hostEnv: { API_URL: "https://a.example" },
    ask: async (question) => {
      questions.push(question)
      return question.includes("PIN") ? short : answer
    },
  })
  expect(resolved.values).toEqual({ CI: "1", URL: "https://a.example", PASSWORD: answer, PIN: short })
  expect(resolved.secrets).toEqual([answer])
  expect(resolved.tooShort).toEqual(["PIN"])
  expect(questions).toEqual(["Database password (PASSWORD)", "Value of PIN"])
})

test("unset host variables are told by name before anything is asked", async () => {
  const env: Record<string, EnvValue> = {
    PASSWORD: { kind: "asked", prompt: "Password" },
    A: { kind: "host", variable: "HOST_A" },
    B: { kind: "host", variable: "HOST_B" },
  }
  const error = await rejection(resolveEnv(env, { hostEnv: {}, ask: nobody, at: { "env.A": "/h/dev.md:3" } }))
  expect(error.why).toBe("env.A takes its value from HOST_A (/h/dev.md:3)\nenv.B takes its value from HOST_B")
  expect(error.next).toBe("export HOST_A=...\nexport HOST_B=...")
})

test("an empty host variable is a value, an empty answer is not", async () => {
  const env: Record<string, EnvValue> = { A: { kind: "host", variable: "A" } }
  expect((await resolveEnv(env, { hostEnv: { A: "" }, ask: nobody })).values).toEqual({ A: "" })
  const asked: Record<string, EnvValue> = { P: { kind: "asked", prompt: "" } }
  expect((await rejection(resolveEnv(asked, { hostEnv: {}, ask: async () => "" }))).what).toBe(
    "Nothing was entered for P",
  )
})

test("a value that execve would cut is refused, without being shown", async () => {
  const value = secret()
  const env: Record<string, EnvValue> = { A: { kind: "asked", prompt: "" } }
  const error = await rejection(resolveEnv(env, { hostEnv: {}, ask: async () => `${value}\0x` }))
  expect(error.what).toContain("The value of A")
  expect(`${error.what}${error.why}${error.next}`).not.toContain(value)
})

test("a credential comes from a variable, a file without its line end, or a command's output", async () => {
  const value = secret()
  using home = new ManifestHome()
  const file = home.write("token", `${value}\n`)
  const context = { hostEnv: { ...process.env, T: value }, home: home.home }
  const sources: TokenSource[] = [
    { kind: "env", variable: "T" },
    { kind: "file", path: file },
    { kind: "command", argv: ["sh", "-c", 'printf "%s\\n\\n" "$T"'] },
  ]
  for (const source of sources) expect(await resolveToken(source, context)).toBe(value)
})

test("a command runs without a shell, and not in the folder of the caller", async () => {
  using home = new ManifestHome({ "user/x": "" })
  const context = { hostEnv: process.env, home: home.home }
  home.write("bottles/dev.md", "---\n---\n")
  expect(await resolveToken({ kind: "command", argv: ["pwd"] }, context)).toBe(home.home)
  expect(await resolveToken({ kind: "command", argv: ["echo", "$(id -u) ; x"] }, context)).toBe(
    "$(id -u) ; x",
  )
})

test("a command that fails is told with its own words, its output is not", async () => {
  const value = secret()
  using home = new ManifestHome({ "bottles/dev.md": "---\n---\n" })
  const argv = ["sh", "-c", 'echo "$T"; echo vault is locked >&2; exit 3']
  const error = await rejection(
    resolveToken({ kind: "command", argv }, { hostEnv: { ...process.env, T: value }, home: home.home }),
  )
  expect(error.what).toBe("The command `sh` gave no credential")
  expect(error.why).toBe("it ended with status 3: vault is locked")
  expect(JSON.stringify(error)).not.toContain(value)
})

test("a credential in a file that others can read is refused", async () => {
  using home = new ManifestHome()
  const file = home.write("token", secret(), 0o644)
  const error = await rejection(resolveToken({ kind: "file", path: file }, { hostEnv: {}, home: home.home }))
  expect(error.why).toContain("its mode is 644")
  expect(error.next).toBe(`Run: chmod 600 ${file}`)
})

test.each([
  ["", undefined, "the variable is set to nothing"],
  ["short", undefined, "fewer than 8 characters"],
  ["a".repeat(20_000), undefined, "more than 8192 characters"],
  ["header\r\nInjected: x", undefined, "control characters"],
  [" padded-value", undefined, "begins or ends with a space"],
  ["pässwörter", undefined, "characters that no header can carry"],
  ["no-colon-here", "basic", "the scheme basic needs user:password"],
])("the credential %j for scheme %p cannot be used", async (value, scheme, expected) => {
  const context = { hostEnv: { T: value }, home: "/", ...(scheme === undefined ? {} : { scheme }) }
  const error = await rejection(resolveToken({ kind: "env", variable: "T" }, context))
  expect(error.why).toContain(expected)
  if (value.length > 8) expect(`${error.what}${error.why}${error.next}`).not.toContain(value)
})

test("basic takes letters beyond ASCII", async () => {
  const context = { hostEnv: { T: "jürgen:pässwort" }, home: "/", scheme: "basic" }
  expect(await resolveToken({ kind: "env", variable: "T" }, context)).toBe("jürgen:pässwort")
})

test("an unset credential says what to export", async () => {
  const error = await rejection(
    resolveToken({ kind: "env", variable: "NOT_SET" }, { hostEnv: {}, home: "/" }),
  )
  expect(error.next).toBe("Set it in this shell: export NOT_SET=...")
})

test("skills are found by their SKILL.md, and all missing ones are told at once", () => {
  using home = new ManifestHome({
    "user/.claude/skills/tidy-up/SKILL.md": "x",
    "user/.claude/skills/review/SKILL.md": "x",
    "user/.claude/skills/empty/other.md": "x",
  })
  expect(findSkills(["tidy-up"], home.user)).toEqual({ "tidy-up": home.path("user/.claude/skills/tidy-up") })
  const error = errorOf(() => findSkills(["tidy-up", "reveiw", "empty"], home.user))
  expect(error.what).toBe("Not every skill of the agent is there: reveiw, empty")
  expect(error.why).toContain('reveiw/SKILL.md does not exist; did you mean "review"?')
  expect(error.next).toContain("review, tidy-up")
})

test("BOTTLE_HOME is absolute or absent", () => {
  expect(bottleHome({ HOME: "/home/u" })).toBe("/home/u/.bottle")
  expect(bottleHome({ HOME: "/home/u", BOTTLE_HOME: "" })).toBe("/home/u/.bottle")
  expect(bottleHome({ HOME: "/home/u", BOTTLE_HOME: "/srv/b/" })).toBe("/srv/b")
  const error = errorOf(() => bottleHome({ HOME: "/home/u", BOTTLE_HOME: "bottles" }))
  expect(error.exitCode).toBe(2)
  expect(error.what).toBe("BOTTLE_HOME is not an absolute path: bottles")
  expect(userHome({ HOME: "relative" })).toStartWith("/")
})
