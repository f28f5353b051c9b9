/** docs/security.md says that tests show its guarantees: they must be there, by these names. */
import { describe, expect, test } from "bun:test"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const PROJECT = join(import.meta.dir, "..", "..")

interface Named {
  file: string
  name: string
}

interface Claim {
  text: string
  tests: Named[]
}

/** The guarantees of the page: each item of a list, with the tests that it names behind their file. */
function claimsOf(page: string): Claim[] {
  const guarantees = page.slice(page.indexOf("\n## Guarantees\n"))
  return guarantees
    .split(/\n\* /)
    .slice(1)
    .map((item) => {
      const line = item.split(/\n\n/)[0]!.replace(/\n\s*/g, " ")
      const tests: Named[] = []
      let file = ""
      for (const [, path, name] of line.matchAll(/`(test\/[^`]+)`|"([^"]+)"/g)) {
        if (path !== undefined) file = path
        else if (name !== undefined) tests.push({ file, name })
      }
      return { text: line, tests }
    })
}

/** Names of the tests in a source: as they stand there, and as templates whose holes are filled from the same file. */
class Tests {
  readonly #source: string
  readonly plain: string[]
  readonly templates: string[]

  constructor(source: string) {
    this.#source = source
    this.plain = [...source.matchAll(/\btest\(\s*"([^"]+)"/g)].map(([, name]) => name!)
    this.templates = [...source.matchAll(/\btest\(\s*`([^`]+)`/g)].map(([, name]) => name!)
    // A name that comes from a table whole: test(sentence, ...).
    if (/\btest\(\s*[a-z]\w*,/.test(source)) this.templates.push("$" + "{name}")
  }

  /** The template that a name is made from, or the name itself; undefined when there is no such test. */
  find(name: string): string | undefined {
    if (this.plain.includes(name)) return name
    return this.templates.find((template) => {
      const literal = template.split(/\$\{[^}]*\}/).map((part) => part.replace(/[.*+?^$()[\]{}|\\]/g, "\\$&"))
      const filled = new RegExp(`^${literal.join("(.+)")}$`).exec(name)
      return filled?.slice(1).every((part) => this.#source.includes(`"${part}"`)) === true
    })
  }
}

const page = readFileSync(join(PROJECT, "docs", "security.md"), "utf8")
const claims = claimsOf(page)
const sources = new Map<string, Tests>()

function testsOf(file: string): Tests {
  const path = join(PROJECT, file)
  const known = sources.get(file) ?? new Tests(existsSync(path) ? readFileSync(path, "utf8") : "")
  sources.set(file, known)
  return known
}

describe("docs/security.md", () => {
  test("names a test for each of its guarantees", () => {
    expect(claims.length).toBeGreaterThan(20)
    expect(claims.filter(({ tests }) => tests.length === 0).map(({ text }) => text)).toEqual([])
  })

  test("names tests that exist", () => {
    const named = claims.flatMap(({ tests }) => tests)
    expect(named.filter(({ file, name }) => testsOf(file).find(name) === undefined)).toEqual([])
  })

  test("leaves no escape test without a guarantee", () => {
    const claimed = new Set<string | undefined>()
    for (const { file, name } of claims.flatMap(({ tests }) => tests))
      claimed.add(`${file}: ${testsOf(file).find(name)}`)
    const unclaimed = readdirSync(join(PROJECT, "test", "escape"), { recursive: true, encoding: "utf8" })
      .filter((entry) => entry.endsWith(".test.ts"))
      .map((entry) => `test/escape/${entry}`)
      .flatMap((file) =>
        [...testsOf(file).plain, ...testsOf(file).templates].map((name) => `${file}: ${name}`),
      )
      .filter((name) => !claimed.has(name))
    expect(unclaimed).toEqual([])
  })

  test("would be caught with a name that no test has", () => {
    const [first] = claims[0]!.tests
    expect(testsOf(first!.file).find(first!.name)).toBe(first!.name)
    expect(testsOf(first!.file).find(`${first!.name}, or so`)).toBeUndefined()
    expect(testsOf("test/escape/none.test.ts").find(first!.name)).toBeUndefined()
    expect(
      testsOf("test/escape/confinement.test.ts").find("wants the time namespace to itself, and gets none"),
    ).toBeUndefined()
  })
})
