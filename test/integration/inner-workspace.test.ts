/** What inner says of a workspace when the agent has ended, with the real git: anything that would be lost is kept. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { execFileSync } from "node:child_process"
import { lstatSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { judgeWorkspace } from "../../sidecars/inner/workspace.ts"
import { type TemporaryFolder, temporaryFolder } from "../fixtures/temporary-folder.ts"

let folder: TemporaryFolder
let workspace: string

beforeEach(() => {
  folder = temporaryFolder()
  workspace = join(folder.path, "workspace")
  mkdirSync(workspace)
})
afterEach(() => folder[Symbol.dispose]())

const ENV = {
  PATH: process.env.PATH,
  HOME: "/nonexistent",
  GIT_CONFIG_COUNT: "1",
  GIT_CONFIG_KEY_0: "protocol.file.allow",
  GIT_CONFIG_VALUE_0: "always",
  ...{ GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a@example.com" },
  ...{ GIT_COMMITTER_NAME: "a", GIT_COMMITTER_EMAIL: "a@example.com" },
}

function git(at: string, ...args: string[]): void {
  execFileSync("git", ["-C", at, ...args], { env: ENV, stdio: "pipe" })
}

/** A repository with one commit, pushed to a remote of its own. */
function pushedRepository(at: string, name: string): void {
  const remote = join(folder.path, `${name}.git`)
  execFileSync("git", ["init", "-q", "--bare", "-b", "main", remote], { env: ENV })
  mkdirSync(at, { recursive: true })
  git(at, "init", "-q", "-b", "main")
  git(at, "remote", "add", "origin", remote)
  writeFileSync(join(at, ".gitignore"), "ignored/\n")
  git(at, "add", ".")
  git(at, "commit", "-qm", "one")
  git(at, "push", "-q", "-u", "origin", "main")
}

/** The time from which changes count, in milliseconds, after everything that is there now. */
function from(): number {
  const probe = join(folder.path, "probe")
  const begun = Date.now()
  for (let n = 0; ; n += 1) {
    rmSync(probe, { force: true })
    writeFileSync(probe, String(n))
    const now = Math.floor(lstatSync(probe).ctimeMs)
    if (now > begun + 1) return now - 1
  }
}

/** What a session changed counts from `since` on. */
function later(since: number, path: string, change: () => void): void {
  do change()
  while (lstatSync(path).ctimeMs <= since)
}

test("an untouched workspace is unchanged", async () => {
  writeFileSync(join(workspace, "file"), "x")
  expect(await judgeWorkspace(workspace, from())).toEqual({ verdict: "unchanged", detail: "" })
})

test("work of an earlier session counts as long as the first launch is what it is measured from", async () => {
  const firstLaunch = from()
  later(firstLaunch, workspace, () => writeFileSync(join(workspace, `work-${Math.random()}`), "x"))
  const resumed = from()
  // Control: measured from the resume, the work of the first session would be thrown away.
  expect((await judgeWorkspace(workspace, resumed)).verdict).toBe("unchanged")
  expect((await judgeWorkspace(workspace, firstLaunch)).verdict).toBe("kept-work")
})

test("a file name cannot bring terminal sequences or a text without end to the host", async () => {
  mkdirSync(join(workspace, "sub"))
  const since = from()
  const name = `\u001b]0;owned\u0007\u009b2J${"x".repeat(200)}`
  later(since, join(workspace, "sub"), () => {
    writeFileSync(join(workspace, "sub", name), "x")
    rmSync(join(workspace, "sub", name))
  })
  const long = Array.from({ length: 12 }, () => `${name}`.slice(0, 150))
  mkdirSync(join(workspace, ...long), { recursive: true })
  const { verdict, detail } = await judgeWorkspace(join(workspace, long[0]!), since)
  expect(verdict).toBe("kept-work")
  expect(detail).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/)
  expect(detail.length).toBeLessThanOrEqual(400)
})

describe("a repository with everything in its remote", () => {
  test("is pushed", async () => {
    const since = from()
    pushedRepository(workspace, "app")
    expect(await judgeWorkspace(workspace, since)).toEqual({ verdict: "pushed", detail: "" })
  })

  test("and a commit that only a ref of its own kind holds is kept", async () => {
    const since = from()
    pushedRepository(workspace, "app")
    git(workspace, "commit", "-qm", "two", "--allow-empty")
    git(workspace, "update-ref", "refs/drafts/two", "HEAD")
    git(workspace, "reset", "-q", "--hard", "HEAD~1")
    expect((await judgeWorkspace(workspace, since)).detail).toBe("1 commits are not pushed")
  })

  test("and a new commit in a repository that it ignores is kept", async () => {
    pushedRepository(workspace, "app")
    const inner = join(workspace, "ignored", "tool")
    pushedRepository(inner, "tool")
    const since = from()
    expect((await judgeWorkspace(workspace, since)).verdict).toBe("unchanged")
    later(since, join(inner, ".git", "refs", "heads"), () =>
      git(inner, "commit", "-qm", "x", "--allow-empty"),
    )
    const { verdict, detail } = await judgeWorkspace(workspace, since)
    expect(verdict).toBe("kept-work")
    expect(detail).toContain("ignored/tool")
  })

  test("and a submodule whose commit is nowhere else is kept", async () => {
    pushedRepository(join(folder.path, "library"), "library")
    pushedRepository(workspace, "app")
    git(workspace, "submodule", "--quiet", "add", join(folder.path, "library.git"), "library")
    git(workspace, "commit", "-qm", "submodule")
    git(workspace, "push", "-q")
    const since = from()
    expect((await judgeWorkspace(workspace, since)).verdict).toBe("unchanged")
    const library = join(workspace, "library")
    later(since, join(workspace, ".git", "modules", "library"), () =>
      git(library, "commit", "-qm", "x", "--allow-empty"),
    )
    git(workspace, "commit", "-qam", "points to it")
    git(workspace, "push", "-q")
    const { verdict, detail } = await judgeWorkspace(workspace, since)
    expect(verdict).toBe("kept-work")
    expect(detail).toContain("submodule")
  })
})

describe("a repository without a remote that the user's folder brought along", () => {
  const commit = (message: string) => git(workspace, "commit", "-qm", message, "--allow-empty")

  test("has nothing to lose when the agent only looked at it", async () => {
    git(workspace, "init", "-q", "-b", "main")
    for (const packed of [false, true]) {
      commit("the user's")
      if (packed) git(workspace, "gc", "-q")
      const since = from()
      // As `git status` writes the index anew: the workspace changed, and no work is in it.
      const touched = join(workspace, ".git", "FETCH_HEAD")
      writeFileSync(touched, "")
      later(since, touched, () => writeFileSync(touched, `${Math.random()}\n`))
      expect(await judgeWorkspace(workspace, since)).toEqual({ verdict: "pushed", detail: "" })
    }
  })

  test("is kept for each commit that the agent made, in a file of its own or in a pack", async () => {
    git(workspace, "init", "-q", "-b", "main")
    commit("the user's")
    const since = from()
    commit("the agent's")
    expect((await judgeWorkspace(workspace, since)).detail).toBe("1 commits are not pushed")
    git(workspace, "gc", "-q")
    expect((await judgeWorkspace(workspace, since)).verdict).toBe("kept-work")
  })
})
