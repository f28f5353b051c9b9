/** Which backend an agent ran on is noted by real starts, and by nothing else. */
import { expect, test } from "bun:test"
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { BUBBLEWRAP, keptIdentity, onBackends, type World } from "../contract/world.ts"

/** No engine answers there. */
const NO_DOCKER = { DOCKER_HOST: "unix:///nonexistent/docker.sock" }

onBackends(BUBBLEWRAP, (world) => {
  const noteOf = ({ home }: World) => join(home, "last-backends.json")
  const agentOf = ({ home }: World, name: string) => join(home, "agents", `${name}.md`)
  const noted = () => {
    const { agents } = JSON.parse(readFileSync(noteOf(world()), "utf8"))
    return agents[agentOf(world(), "sh")]?.backend
  }
  /** The note as an earlier start left it. */
  const ranOn = (backend: string) => {
    const agents = { [agentOf(world(), "sh")]: { backend, at: new Date().toISOString() } }
    writeFileSync(noteOf(world()), JSON.stringify({ version: 1, agents }))
    chmodSync(noteOf(world()), 0o600)
    world().own(noteOf(world()))
  }
  const forget = () => rmSync(noteOf(world()), { force: true })
  /** The bottle without a word about its backend. */
  const anyBackend = () => {
    const path = join(world().home, "bottles", "sh.md")
    writeFileSync(path, readFileSync(path, "utf8").replace("backend: bubblewrap\n", ""))
    world().own(path)
  }

  test("a start notes its backend for the caller's eyes alone, a plan notes nothing", async () => {
    forget()
    expect((await world().bottle("start", "sh", "--dry-run")).code).toBe(0)
    expect(existsSync(noteOf(world()))).toBe(false)
    expect((await world().start("true")).code).toBe(0)
    expect(noted()).toBe("bubblewrap")
    expect(statSync(noteOf(world())).mode & 0o777).toBe(0o600)
  })

  test("a start that fails notes nothing", async () => {
    forget()
    const { code } = await world().bottle("start", "sh", "--yes", "--backend", "no-such-backend")
    expect(code).toBe(2)
    expect(existsSync(noteOf(world()))).toBe(false)
  })

  test("the weaker one is refused by itself, marked when asked for, and then the last one", async () => {
    world().manifest("sh")
    anyBackend()
    ranOn("docker")
    const refused = await world().start("echo ran", { env: NO_DOCKER })
    expect(refused).toMatchObject({ code: 1, stdout: "" })
    expect(refused.stderr).toContain("sh would be isolated less than last time")
    expect(noted()).toBe("docker")
    const agreed = await world().start("echo ran", { env: NO_DOCKER, args: ["--backend", "bubblewrap"] })
    expect(agreed).toMatchObject({ code: 0, stdout: "ran\n" })
    expect(agreed.stderr).toContain("isolates less than docker, which sh ran on last")
    expect(noted()).toBe("bubblewrap")
    const next = await world().start("echo ran", { env: NO_DOCKER })
    expect(next).toMatchObject({ code: 0, stdout: "ran\n" })
    expect(next.stderr).toContain("first available")
  })

  test("a kept bottle goes on where it is, and that is no choice", async () => {
    world().manifest("sh")
    const identity = keptIdentity(await world().start("echo work >/workspace/file; exit 3"))
    ranOn("docker")
    const resumed = await world().resume(identity, "cat /workspace/file", { env: NO_DOCKER })
    expect(resumed.stdout).toBe("work\n")
    expect(resumed.stderr).toContain("the bottle's own")
    expect(noted()).toBe("docker")
  })
})
