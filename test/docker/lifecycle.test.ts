/** How a bottle ends, and what is left of it: nothing when there is nothing to lose, all of it otherwise. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { createScripted, NOTHING, type Remains, type Scripted, STAY } from "./scripted.ts"

let scripted: Scripted

beforeAll(async () => {
  scripted = await createScripted()
})
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})

/** What is left, but for the network, which the bottles of a home share and the next start uses again. */
async function left(): Promise<Remains> {
  return { ...(await scripted.remains()), networks: [] }
}

/** Makes a repository that has everything in a remote of its own. */
const PUSHED = [
  "set -e; cd /workspace; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c",
  "git init -q --bare /tmp/remote.git; git init -q -b main .; git remote add origin /tmp/remote.git",
  "echo '*.log' >.gitignore; echo one >one; git add .; git commit -qm one; git push -q -u origin main",
].join("\n")

/** The identity in the line that tells how to go on. */
function resumeLine(stderr: string): string {
  const identity = /bottle resume (scripted-[0-9a-z]{5})$/m.exec(stderr)?.[1]
  if (identity === undefined) throw new Error(`no line tells how to go on:\n${stderr}`)
  return identity
}

afterEach(() => scripted.discardAll())

describe("a bottle started with --detach", () => {
  test("tells its identity on stdout alone, has two containers, and goes without a trace when stopped", async () => {
    const started = await scripted.start(STAY, { args: ["--detach"] })
    expect(started.code).toBe(0)
    expect(started.stdout).toMatch(/^scripted-[0-9a-z]{5}\n$/)
    const identity = started.stdout.trim()
    expect((await left()).containers).toEqual([`bottle-${identity}-agent`, `bottle-${identity}-sidecars`])
    expect((await left()).state).toEqual([identity])

    const stopped = await scripted.world.bottle("stop", identity)
    expect(stopped.code).toBe(0)
    expect(stopped.stdout).toBe("")
    expect(await left()).toEqual(NOTHING)
  })

  test("keeps what its agent wrote when it is stopped", async () => {
    const identity = await scripted.detached(`echo work >note; ${STAY}`)
    await scripted.inside(identity, "until [ -s /workspace/note ]; do :; done")
    const stopped = await scripted.world.bottle("stop", identity)
    expect(stopped.stderr).toContain("/workspace is new or changed")
    expect(resumeLine(stopped.stderr)).toBe(identity)
    const { containers, volumes, state } = await left()
    expect(containers).toEqual([])
    expect(volumes).toContain(`bottle-${identity}-workspace`)
    expect(state).toEqual([identity])
  })
})

describe("an agent that ends with 0", () => {
  test("and left its workspace as it was leaves nothing", async () => {
    const result = await scripted.start("echo work >/tmp/elsewhere", { args: ["--prompt", "x"] })
    expect(result.code).toBe(0)
    expect(await left()).toEqual(NOTHING)
  })

  const kept: [string, string, string][] = [
    ["made a new file", "echo work >/workspace/new", "new"],
    ["made a new folder and nothing in it", "mkdir /workspace/folder", "/workspace"],
    [
      "has a commit that is not pushed",
      `${PUSHED}\necho two >two; git add .; git commit -qm two`,
      "1 commits",
    ],
    ["has a change that is not committed", `${PUSHED}\necho more >>one`, "not committed"],
    ["has a file that git does not know", `${PUSHED}\necho new >new`, "not committed"],
    ["has a stash", `${PUSHED}\necho more >>one; git stash -q`, "stash"],
    ["has a new file that git ignores", `${PUSHED}\necho x >new.log`, "new.log"],
    [
      "has a branch that is not pushed",
      `${PUSHED}\ngit switch -qc other; git commit -qm x --allow-empty; git switch -q main`,
      "1 commits",
    ],
    [
      "has a commit on no branch",
      `${PUSHED}\ngit switch -q --detach; git commit -qm x --allow-empty`,
      "1 commits",
    ],
    [
      "has a tag that is not pushed",
      `${PUSHED}\ngit commit -qm x --allow-empty; git tag v1; git reset -q --hard HEAD~1`,
      "1 commits",
    ],
    ["has a repository without a remote", "cd /workspace; git init -q; echo x >x", "not committed"],
    ["broke its repository", `${PUSHED}\nrm -rf .git/objects`, "judged"],
    [
      "has a repository below a folder with work",
      "mkdir -p /workspace/sub; cd /workspace/sub; git init -q",
      "",
    ],
  ]
  for (const [what, script, reason] of kept) {
    test(`and ${what} keeps the bottle, and says why`, async () => {
      const result = await scripted.start(script, { args: ["--prompt", "x"] })
      expect(result.stderr).toContain("Kept")
      expect(result.stderr).toContain(reason)
      expect(result.code).toBe(0)
      const identity = resumeLine(result.stderr)
      const { containers, volumes, state } = await left()
      expect(containers).toEqual([])
      expect(volumes).toEqual([
        `bottle-${identity}-home`,
        `bottle-${identity}-ledger`,
        `bottle-${identity}-workspace`,
      ])
      expect(state).toEqual([identity])
    })
  }

  test("and pushed all of its repository leaves nothing", async () => {
    const result = await scripted.start(PUSHED, { args: ["--prompt", "x"] })
    expect(result.stderr).not.toContain("Kept")
    expect(result.code).toBe(0)
    expect(await left()).toEqual(NOTHING)
  })
})
