import { expect, test } from "bun:test"
import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { lastUse, noteUse } from "../../src/session/last-backends.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const AGENT = "/home/someone/.bottle/agents/dev.md"
const NAME = "last-backends.json"
const DAY_MS = 24 * 3_600_000

/** The note's file as an earlier command left it. */
function written(home: string, agents: Record<string, { backend: string; at: string }>): string {
  const path = join(home, NAME)
  writeFileSync(path, JSON.stringify({ version: 1, agents }))
  return path
}

const ago = (ms: number) => new Date(Date.now() - ms).toISOString()

test("an agent that was never started has no last backend, and asking leaves no file", async () => {
  using folder = temporaryFolder()
  expect(await lastUse(folder.path, AGENT)).toEqual({ kind: "never" })
  expect(readdirSync(folder.path)).toEqual([])
})

test("the last start counts, for each agent's file by itself, in a file for the user's eyes alone", async () => {
  using folder = temporaryFolder()
  await noteUse(folder.path, AGENT, "docker")
  await noteUse(folder.path, "/repo/.bottle/agents/dev.md", "docker")
  await noteUse(folder.path, AGENT, "bubblewrap")
  expect(await lastUse(folder.path, AGENT)).toMatchObject({ kind: "used", last: { backend: "bubblewrap" } })
  expect(await lastUse(folder.path, "/repo/.bottle/agents/dev.md")).toMatchObject({
    last: { backend: "docker" },
  })
  expect(statSync(join(folder.path, NAME)).mode & 0o777).toBe(0o600)
  expect(readdirSync(folder.path)).toEqual([NAME])
})

test("starts that end at the same instant are all noted", async () => {
  using folder = temporaryFolder()
  const agents = Array.from({ length: 20 }, (_, i) => `/agents/a${i}.md`)
  await Promise.all(agents.map((agent) => noteUse(folder.path, agent, "bubblewrap")))
  for (const agent of agents) expect(await lastUse(folder.path, agent)).toMatchObject({ kind: "used" })
})

test("the same backend on the same day is not written again, on another day it is", async () => {
  using folder = temporaryFolder()
  const path = written(folder.path, { [AGENT]: { backend: "docker", at: ago(DAY_MS / 2) } })
  const before = readFileSync(path, "utf8")
  await noteUse(folder.path, AGENT, "docker")
  expect(readFileSync(path, "utf8")).toBe(before)
  for (const at of [ago(2 * DAY_MS), ago(-2 * DAY_MS)]) {
    written(folder.path, { [AGENT]: { backend: "docker", at } })
    await noteUse(folder.path, AGENT, "docker")
    expect(readFileSync(path, "utf8")).not.toContain(at)
  }
})

test("the file stays within what is read, and the oldest notes are those that go", async () => {
  using folder = temporaryFolder()
  const long = "/folder".repeat(200)
  const agents = Object.fromEntries(
    Array.from({ length: 175 }, (_, i) => [
      `${long}/${i}.md`,
      { backend: "docker", at: ago(2 * DAY_MS + i * 1000) },
    ]),
  )
  const path = written(folder.path, agents)
  for (let i = 0; i < 20; i += 1) await noteUse(folder.path, `${long}/new${i}.md`, "bubblewrap")
  expect(statSync(path).size).toBeLessThanOrEqual(256 * 1024)
  expect(await lastUse(folder.path, `${long}/new0.md`)).toMatchObject({ kind: "used" })
  expect(await lastUse(folder.path, `${long}/0.md`)).toMatchObject({ kind: "used" })
  expect(await lastUse(folder.path, `${long}/174.md`)).toEqual({ kind: "never" })
})

const DAMAGED: [string, (path: string) => void][] = [
  ["half of a file", (path) => writeFileSync(path, '{"version":1,"agents":{"/a')],
  ["an empty one", (path) => writeFileSync(path, "")],
  ["another version", (path) => writeFileSync(path, '{"version":2,"agents":{}}')],
  [
    "an unknown backend",
    (path) => writeFileSync(path, `{"version":1,"agents":{"/a":{"backend":"none","at":"${ago(0)}"}}}`),
  ],
  ["far too large a one", (path) => writeFileSync(path, " ".repeat(300 * 1024))],
  ["a symbolic link", (path) => symlinkSync("/dev/zero", path)],
]
for (const [what, damage] of DAMAGED) {
  test(`${what} is told apart from no note, and the next note replaces it`, async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, NAME)
    damage(path)
    expect(await lastUse(folder.path, AGENT)).toEqual({ kind: "unknown", path })
    await noteUse(folder.path, AGENT, "docker")
    expect(await lastUse(folder.path, AGENT)).toMatchObject({ kind: "used", last: { backend: "docker" } })
  })
}
