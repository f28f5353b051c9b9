/** `bottle resume`: the same bottle again, with its workspace and its home, until its work is safe elsewhere. */
import { expect, test } from "bun:test"
import { NOTHING } from "./objects.ts"
import { keptIdentity, onEveryBackend, STAY, type World } from "./world.ts"

/** A bottle with a file in its workspace and one in its home, kept. */
async function kept(world: World): Promise<string> {
  return keptIdentity(await world.start("echo first >/workspace/file; echo mine >~/own"))
}

onEveryBackend((world) => {
  test("a resumed bottle has its identity, its workspace and its home", async () => {
    const identity = await kept(world())
    const result = await world().resume(identity, "uname -n; cat /workspace/file ~/own; echo more >>~/own")
    expect(result).toMatchObject({ code: 0, stdout: `${identity}\nfirst\nmine\n` })
    expect(keptIdentity(result)).toBe(identity)
    expect((await world().resume(identity, "cat ~/own")).stdout).toBe("mine\nmore\n")
    expect(await world().remains()).toEqual({ running: [], work: [identity], state: [identity] })
  })

  test("a bottle can be resumed detached, and stopped, as often as one likes", async () => {
    const identity = await kept(world())
    for (let round = 1; round <= 2; round += 1) {
      const detached = await world().resume(identity, `echo ${round} >>file; ${STAY}`, { args: ["--detach"] })
      expect(detached.stdout).toBe(`${identity}\n`)
      await world().until(identity, `grep -q ${round} /workspace/file`)
      expect((await world().bottle("stop", identity)).code).toBe(0)
    }
    expect((await world().resume(identity, "cat file")).stdout).toBe("first\n1\n2\n")
  })

  test("a session that does nothing keeps what the one before it made, and pushing that lets the bottle go", async () => {
    const identity = await kept(world())
    expect(keptIdentity(await world().resume(identity, "true"))).toBe(identity)
    expect((await world().resume(identity, "cat file")).stdout).toBe("first\n")
    const identify = "-c user.name=a -c user.email=a@b.c"
    const push = [
      "cd /workspace; git init -q -b main; git init -q --bare /tmp/r.git; git remote add origin /tmp/r.git",
      `git add .; git ${identify} commit -qm x; git push -q -u origin main`,
    ].join("\n")
    const pushed = await world().resume(identity, push)
    expect(pushed.stderr).toContain("nothing to keep")
    expect(await world().remains()).toEqual(NOTHING)
  })

  test("a bottle has one ledger over all of its sessions", async () => {
    const identity = await kept(world())
    await world().resume(identity, "true")
    const entries = (await world().ok("log", identity, "--format", "json"))
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(entries.filter(({ kind }) => kind === "agent-start")).toHaveLength(2)
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, index) => index + 1))
    expect((await world().bottle("log", identity, "--verify")).code).toBe(0)
  })

  test("one that runs is not started a second time", async () => {
    const identity = await kept(world())
    await world().resume(identity, STAY, { args: ["--detach"] })
    const second = await world().resume(identity, STAY, { args: ["--detach"] })
    expect(second.code).toBe(1)
    expect(second.stderr).toContain(`bottle attach ${identity}`)
    const { backend } = world().kind
    expect(await world().ok("list", "active")).toBe(`${backend}\t${identity}\tsh\tagent,egress`)
  })

  test("of two at once exactly one starts it", async () => {
    const identity = await kept(world())
    const again = () => world().resume(identity, STAY, { args: ["--detach"] })
    const both = await Promise.all([again(), again()])
    expect(both.map(({ code }) => code).sort()).toEqual([0, 1])
    expect(both.find(({ code }) => code === 1)?.stderr).toContain(identity)
    expect(await world().inside(identity, "cat /workspace/file")).toBe("first")
    expect((await world().remains()).running).toEqual([identity])
  })

  test("one that was never there is told with where to look", async () => {
    const result = await world().resume("sh-aaaaa", "true")
    expect(result.code).toBe(1)
    expect(result.stderr).toContain("There is no bottle named sh-aaaaa")
    expect((await world().resume("../../etc", "true")).code).toBe(2)
    expect(await world().remains()).toEqual(NOTHING)
  })
})
