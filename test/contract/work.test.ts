/** What an agent that ended with 0 leaves: nothing when there is nothing to lose, its work otherwise. */
import { expect, test } from "bun:test"
import { NOTHING } from "./objects.ts"
import { keptIdentity, onEveryBackend } from "./world.ts"

/** Makes a repository that has everything in a remote of its own. */
const PUSHED = [
  "set -e; cd /workspace; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c",
  "git init -q --bare /tmp/remote.git; git init -q -b main .; git remote add origin /tmp/remote.git",
  "echo '*.log' >.gitignore; echo one >one; git add .; git commit -qm one; git push -q -u origin main",
].join("\n")

onEveryBackend((world) => {
  test("an agent that left its workspace as it was leaves nothing", async () => {
    expect((await world().start("echo work >/tmp/elsewhere")).code).toBe(0)
    expect(await world().remains()).toEqual(NOTHING)
  })

  test("an agent that pushed all of its repository leaves nothing", async () => {
    const result = await world().start(PUSHED)
    expect(result.stderr).not.toContain("Kept")
    expect(result.code).toBe(0)
    expect(await world().remains()).toEqual(NOTHING)
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
      "/workspace",
    ],
  ]
  for (const [what, script, reason] of kept) {
    test(`an agent that ${what} has its bottle kept, and the reason told`, async () => {
      const result = await world().start(script)
      expect(result.stderr).toContain("Kept")
      expect(result.stderr).toContain(reason)
      expect(result.code).toBe(0)
      const identity = keptIdentity(result)
      expect(await world().remains()).toEqual({ running: [], work: [identity], state: [identity] })
    })
  }
})
