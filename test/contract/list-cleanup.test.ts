/** What of a home's bottles is shown and tidied up: its own alone, and never what was kept. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { join } from "node:path"
import { NOTHING } from "./objects.ts"
import { createWorld, onEveryBackend, STAY, type World } from "./world.ts"

onEveryBackend((world) => {
  describe("list active", () => {
    test("shows each bottle in four fields, and marks those that ended", async () => {
      const { backend } = world().kind
      const runs = await world().detached(STAY)
      const over = await world().detached("exit 0")
      await world().ended(over)
      expect((await world().ok("list", "active")).split("\n")).toEqual([
        `${backend}\t${runs}\tsh\tagent,egress`,
        `${backend}\t${over}\tsh\t\tended`,
      ])
      const data = JSON.parse(await world().ok("list", "active", "--format", "json"))
      const common = { backend, agent: "sh", started_at: expect.any(String) }
      const times = data.map(({ started_at }: { started_at: string }) => started_at)
      expect(data).toEqual([
        { ...common, identity: runs, services: ["agent", "egress"], status: "running" },
        { ...common, identity: over, services: [], status: "ended" },
      ])
      for (const time of times) {
        expect(new Date(time).toISOString()).toBe(time)
        expect(Math.abs(Date.now() - Date.parse(time))).toBeLessThan(300_000)
      }
    })

    test("of no bottles writes nothing to stdout, and [] as JSON", async () => {
      expect((await world().bottle("list", "active")).stdout).toBe("")
      expect(JSON.parse(await world().ok("list", "active", "--format", "json"))).toEqual([])
    })
  })

  describe("another home's bottles", () => {
    let other: World
    beforeAll(async () => {
      other = await createWorld(world().kind)
    })
    afterAll(() => other?.[Symbol.asyncDispose]())

    test("are never shown, and no verb touches them", async () => {
      const theirs = await other.detached(STAY)
      expect(await world().ok("list", "active")).toBe("")
      const verbs = [
        ["stop", theirs],
        ["attach", theirs],
        ["exec", theirs, "--", "true"],
        ["resume", theirs, "--detach", "--yes"],
        ["log", theirs],
        ["routes", "show", theirs],
        ["reload", theirs],
      ]
      for (const words of verbs) {
        const result = await world().bottle(...words)
        expect(result.code).toBe(1)
        expect(result.stderr).toContain("There is no bottle named")
      }
      expect((await world().bottle("cleanup", "--yes")).stderr).toContain("Nothing to clean up")
      const { backend } = other.kind
      expect(await other.ok("list", "active")).toBe(`${backend}\t${theirs}\tsh\tagent,egress`)
    })
  })

  describe("cleanup", () => {
    test("of nothing says so and leaves with 0", async () => {
      const result = await world().bottle("cleanup", "--yes")
      expect(result.stderr).toContain("Nothing to clean up")
      expect(result.code).toBe(0)
    })

    test("removes an ended bottle with nothing to keep, keeps one with work, and leaves running ones alone", async () => {
      const [runs, empty, worked] = await Promise.all([
        world().detached(STAY),
        world().detached("exit 0"),
        world().detached("echo x >/workspace/work"),
      ])
      await Promise.all([world().ended(empty), world().ended(worked)])
      const shown = await world().bottle("cleanup", "--dry-run")
      expect(shown.stderr).toContain(empty)
      expect(shown.stderr).toContain(worked)
      expect(shown.stderr).not.toContain(runs)
      expect((await world().remains()).state).toEqual([empty, worked, runs].sort())

      const cleaned = await world().bottle("cleanup", "--yes")
      expect(cleaned.code).toBe(0)
      expect(cleaned.stderr).toContain(`bottle resume ${worked}`)
      const left = { running: [runs], work: [worked, runs].sort(), state: [worked, runs].sort() }
      expect(await world().remains()).toEqual(left)
      // What was kept is no longer anything to clean up.
      expect((await world().bottle("cleanup", "--yes")).stderr).toContain("Nothing to clean up")
      expect(await world().remains()).toEqual(left)
    })

    test("keeps the gateway's log and the ledger with what it keeps", async () => {
      const identity = await world().detached("exit 3")
      await world().ended(identity)
      await world().ok("cleanup", "--yes")
      const logs = new Bun.Glob("*").scanSync({ cwd: join(world().home, "state", identity, "log") })
      const text = await Promise.all(
        [...logs].map((name) => Bun.file(join(world().home, "state", identity, "log", name)).text()),
      )
      expect(text.join("\n")).toMatch(/loaded \d+ routes, generation 1/)
      expect(await world().ok("log", identity)).toContain("agent-exit")
      expect((await world().bottle("log", identity, "--verify")).code).toBe(0)
    })

    test("without --yes and without a terminal removes nothing and says how", async () => {
      const identity = await world().detached("exit 0")
      await world().ended(identity)
      const before = await world().remains()
      const result = await world().bottle("cleanup")
      expect(result.code).toBe(2)
      expect(result.stderr).toContain("--yes")
      expect(await world().remains()).toEqual(before)
    })

    test("asks one question on a terminal, and N removes nothing", async () => {
      const identity = await world().detached("exit 0")
      await world().ended(identity)
      const before = await world().remains()
      await using refusing = world().onTerminal("cleanup")
      await refusing.sees("[y/N]")
      refusing.type("n\r")
      expect(await refusing.exited).toBe(1)
      expect(await world().remains()).toEqual(before)
      await using agreeing = world().onTerminal("cleanup")
      await agreeing.sees("[y/N]")
      agreeing.type("y\r")
      expect(await agreeing.exited).toBe(0)
      expect(await world().remains()).toEqual(NOTHING)
    })

    test("asks every backend, even where the environment names another one", async () => {
      const identity = await world().detached("exit 0")
      await world().ended(identity)
      const other = world().kind.backend === "docker" ? "bubblewrap" : "docker"
      const cleaned = await world().bottleWith({ BOTTLE_BACKEND: other }, "cleanup", "--yes")
      expect(cleaned.stderr).toContain(identity)
      expect(await world().remains()).toEqual(NOTHING)
    })
  })
})
