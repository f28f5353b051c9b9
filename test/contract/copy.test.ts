/** `--cwd`: the current folder becomes the workspace as a copy; the folder itself is never touched. */
import { expect, test } from "bun:test"
import { chmodSync, lstatSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"
import { NOTHING } from "./objects.ts"
import { BUBBLEWRAP, keptIdentity, onBackends, onEveryBackend, STAY, type World } from "./world.ts"

const COMMIT =
  "git init -q -b main . && git -c user.name=a -c user.email=a@b.c commit -qm first --allow-empty && git add . && git -c user.name=a -c user.email=a@b.c commit -qm second"

/** A folder to be copied, made by its caller. */
class Project {
  readonly path: string
  readonly #world: World

  constructor(world: World) {
    this.#world = world
    this.path = mkdtempSync(join(world.cwd, "project-"))
    world.own(this.path)
  }

  write(name: string, content: string | Buffer = "x", mode = 0o644): void {
    const path = join(this.path, name)
    writeFileSync(path, content)
    chmodSync(path, mode)
    this.#world.own(path)
  }

  /** As the caller, so that all of it is theirs. */
  async sh(line: string): Promise<string> {
    const { as, env } = this.#world
    const result = await run(["bash", "-ec", line], { cwd: this.path, env, ...(as && { as }) })
    if (result.code !== 0) throw new Error(result.stderr)
    return result.stdout.trim()
  }

  /** What it is to whoever looks at it: names, kinds, modes, owners, times, targets and contents. */
  shape(): Promise<string> {
    return this.sh(
      "find . -printf '%p %y %m %U %G %T@ %C@ %l\\n' | sort; find . -type f -exec sha256sum {} + | sort",
    )
  }
}

onEveryBackend((world) => {
  const copied = (project: Project, script = STAY) =>
    world().detached(script, { args: ["--cwd"], cwd: project.path })

  test("the copy has files, folders, modes, links and .git, all the agent's own; the folder is not touched", async () => {
    const project = new Project(world())
    project.write("plain", "plain text\n")
    project.write("run.sh", "#!/bin/sh\n", 0o755)
    project.write("secret", "x", 0o600)
    project.write(" odd name\n\u00e4\u{1f600}", "odd\n")
    project.write("large", Buffer.alloc(3 * 1024 * 1024, "abc"))
    await project.sh(
      "mkdir -p empty deep/er; chmod 750 deep; ln -s plain link; ln -s /nowhere/at/all dangling",
    )
    project.write(join("deep", "er", "x".repeat(200)), "deep\n")
    await project.sh(COMMIT)
    const before = await project.shape()

    const identity = await copied(project)
    const look = "find . -not -path './.git*' -printf '%p %y %m %U:%G %l\\n' | sort"
    const rooted = (list: string) => list.replace(/^\. d \d+/m, ". d 755")
    const inside = await world().inside(identity, `cd /workspace && ${look}`)
    expect(rooted(inside)).toBe(rooted(await project.sh(look.replace("%U:%G", "1000:1000"))))
    const sums = "sha256sum large plain deep/er/x*"
    expect(await world().inside(identity, `cd /workspace && ${sums}`)).toBe(await project.sh(sums))
    const history = "cd /workspace && git status --porcelain && git log --format=%s"
    expect(await world().inside(identity, history)).toBe("second\nfirst")
    const change = "cd /workspace && echo more >>plain && rm -r deep && git gc -q && touch new"
    await world().inside(identity, change)
    await world().ok("stop", identity)
    expect(await project.shape()).toBe(before)
  })

  test("sockets and pipes are left out, and the rest is copied", async () => {
    const project = new Project(world())
    await project.sh("mkfifo pipe; mkdir sub; echo x >sub/file")
    const server = createServer()
    await new Promise<void>((done) => server.listen(join(project.path, "sub", "socket"), done))
    const identity = await copied(project)
    expect(await world().inside(identity, "cd /workspace && find . | sort")).toBe(".\n./sub\n./sub/file")
    server.close()
  })

  test("a link that points out of the folder is copied as a link, not as what it points to", async () => {
    const project = new Project(world())
    const secret = join(world().cwd, "outside-secret")
    writeFileSync(secret, "not for the agent\n")
    world().own(secret)
    symlinkSync(secret, join(project.path, "link"))
    symlinkSync(world().home, join(project.path, "home"))
    const identity = await copied(project)
    const read = "cat /workspace/link /workspace/home/* 2>&1 || true"
    expect(await world().inside(identity, read)).not.toContain("not for")
    expect(await world().inside(identity, "readlink /workspace/link")).toBe(secret)
  })

  test("setuid and setgid bits do not come along", async () => {
    const project = new Project(world())
    project.write("tool")
    chmodSync(join(project.path, "tool"), 0o6755)
    const identity = await copied(project)
    expect(await world().inside(identity, "stat -c %a /workspace/tool")).toBe("755")
  })

  test("a copy that the agent left as it was is not kept", async () => {
    const project = new Project(world())
    project.write("file")
    await project.sh(COMMIT)
    const result = await world().start("cat file", { args: ["--cwd"], cwd: project.path })
    expect(result.stdout).toBe("x")
    expect(result.stderr).not.toContain("Kept")
    expect(await world().remains()).toEqual(NOTHING)
    expect(readdirSync(project.path).sort()).toEqual([".git", "file"])
  })

  test("a copy in which the agent changed one byte, and set its time back, is kept", async () => {
    const project = new Project(world())
    project.write("file")
    const script = "touch -r file /tmp/when; printf y >file; touch -r /tmp/when file"
    const identity = keptIdentity(await world().start(script, { args: ["--cwd"], cwd: project.path }))
    expect(lstatSync(join(project.path, "file")).size).toBe(1)
    expect((await world().resume(identity, "cat file")).stdout).toBe("y")
  })

  test("a linked worktree, and a folder that holds bottle's own, are refused before anything starts", async () => {
    const project = new Project(world())
    project.write("x")
    await project.sh(`${COMMIT}; git worktree add -q ../linked`)
    const linked = await world().start("true", { args: ["--cwd"], cwd: join(world().cwd, "linked") })
    expect(linked.code).toBe(2)
    expect(linked.stderr).toContain("worktree")
    expect(linked.stderr).toContain("git clone")
    const holding = await world().start("true", { args: ["--cwd"], cwd: join(world().home, "..") })
    expect(holding.code).toBe(2)
    expect(holding.stderr).toContain("bottle's own folder")
    expect(await world().remains()).toEqual(NOTHING)
  })
})

onBackends(
  BUBBLEWRAP.filter(({ ordinary }) => ordinary),
  (world) => {
    test("a file that its caller may not read ends the start with its name, and nothing is left", async () => {
      const project = new Project(world())
      project.write("readable")
      project.write("locked", "x", 0)
      const result = await world().start("true", { args: ["--cwd"], cwd: project.path })
      expect(result.code).toBe(1)
      expect(result.stderr).toContain("locked")
      expect(result.stderr).toMatch(/^ {2}next \S/m)
      expect(await world().remains()).toEqual(NOTHING)
    })
  },
)
