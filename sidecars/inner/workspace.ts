/**
 * Whether something would be lost if the workspace went away: judged inside the sandbox, where running git on the
 * agent's own repository can do no more than the agent could.
 */
import { execFile } from "node:child_process"
import { lstatSync } from "node:fs"
import { opendir } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { showable } from "../../src/policy/denial.ts"
import type { WorkspaceState } from "../../src/policy/wire/lifeline.ts"

/** Entries looked at before the answer is "changed", to end in seconds whatever the agent left. */
const ENTRIES_MAX = 2_000_000
/** git answers within this, in milliseconds. */
const GIT_WITHIN_MS = 60_000
/** Commits that are looked at one by one; with more that are in no remote all of them count. */
const COMMITS_MAX = 50_000
/** All of it together ends within this, in milliseconds: a program that git's configuration names may hang. */
const JUDGED_WITHIN_MS = 120_000
/** Longest text that says what would be lost, in characters, within what the lifeline takes. */
const DETAIL_MAX = 400

const run = promisify(execFile)

/**
 * `since` is the time of the bottle's first launch, in milliseconds: an inode changed after it has work of the agent.
 */
export async function judgeWorkspace(workspace: string, since: number): Promise<WorkspaceState> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<WorkspaceState>((resolve) => {
    const detail = `could not be judged within ${JUDGED_WITHIN_MS / 1000} s`
    timer = setTimeout(() => resolve({ verdict: "kept-work", detail }), JUDGED_WITHIN_MS)
  })
  try {
    const { verdict, detail } = await Promise.race([judge(workspace, since), late])
    // File names are the agent's own choice.
    return { verdict, detail: showable(detail, DETAIL_MAX) }
  } finally {
    clearTimeout(timer)
  }
}

async function judge(workspace: string, since: number): Promise<WorkspaceState> {
  try {
    const changed = await firstChange(workspace, since)
    if (changed === undefined) return { verdict: "unchanged", detail: "" }
    if (lstatSync(join(workspace, ".git"), { throwIfNoEntry: false }) === undefined) {
      return { verdict: "kept-work", detail: `${changed} is new or changed` }
    }
    return await judgeRepository(workspace, since)
  } catch (error) {
    // What cannot be judged is kept.
    return { verdict: "kept-work", detail: `could not be judged: ${String(error)}` }
  }
}

/**
 * The first entry below `folder` whose inode changed after `since`. The change time of an inode cannot be set back by
 * its owner, and a deletion changes that of the folder.
 */
async function firstChange(folder: string, since: number): Promise<string | undefined> {
  let seen = 0
  const folders = [folder]
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    if (lstatSync(next).ctimeMs > since) return next
    for await (const entry of await opendir(next)) {
      seen += 1
      if (seen > ENTRIES_MAX) return next
      const path = join(next, entry.name)
      if (entry.isDirectory()) folders.push(path)
      else if (lstatSync(path).ctimeMs > since) return path
    }
  }
  return undefined
}

/** Nothing uncommitted, nothing stashed, nothing ignored that is new, and every commit in some remote. */
async function judgeRepository(workspace: string, since: number): Promise<WorkspaceState> {
  const git = async (...args: string[]) => {
    const { stdout } = await run("git", ["-C", workspace, ...args], {
      timeout: GIT_WITHIN_MS,
      maxBuffer: 64 * 1024 * 1024,
      env: { PATH: process.env.PATH ?? "/usr/bin:/bin", HOME: "/nonexistent", GIT_OPTIONAL_LOCKS: "0" },
    })
    return stdout
  }
  const open = await git("status", "--porcelain", "-z", "--untracked-files=all")
  if (open !== "") return { verdict: "kept-work", detail: `${count(open)} files are not committed` }
  const ignored = await git("ls-files", "-z", "--others", "--ignored", "--exclude-standard")
  for (const name of ignored.split("\0").filter((entry) => entry !== "")) {
    const fresh = await changedBelow(join(workspace, name), since)
    if (fresh !== undefined)
      return { verdict: "kept-work", detail: `${fresh} is ignored by git, and new or changed` }
  }
  // A superproject is clean as soon as it names a submodule's commit, wherever that commit is.
  for (const path of [join(workspace, ".git", "modules"), ...(await submodules(git, workspace))]) {
    const fresh = await changedBelow(path, since)
    if (fresh !== undefined) return { verdict: "kept-work", detail: `${fresh} belongs to a submodule` }
  }
  if ((await git("stash", "list")) !== "") return { verdict: "kept-work", detail: "there are stashes" }
  const unpushed = await git("rev-list", "--all", "HEAD", "--not", "--remotes")
  const ours = madeSince(unpushed.split("\n").filter(Boolean), join(workspace, ".git", "objects"), since)
  if (ours.length > 0) return { verdict: "kept-work", detail: `${ours.length} commits are not pushed` }
  return { verdict: "pushed", detail: "" }
}

function count(zeroSeparated: string): number {
  return zeroSeparated.split("\0").filter((part) => part !== "").length
}

/**
 * The commits that were not there before: those that a copy of the user's folder brought along are still in that
 * folder. A commit is a file of its own when it is made; in a pack that is new as well it counts as made since.
 */
function madeSince(commits: string[], objects: string, since: number): string[] {
  if (commits.length > COMMITS_MAX) return commits
  const packs = lstatSync(join(objects, "pack"), { throwIfNoEntry: false })
  const packedSince = packs === undefined || packs.ctimeMs > since
  return commits.filter((commit) => {
    const own = join(objects, commit.slice(0, 2), commit.slice(2))
    const loose = lstatSync(own, { throwIfNoEntry: false })
    return loose === undefined ? packedSince : loose.ctimeMs > since
  })
}

/** Folders of the submodules that the index names (mode 160000). */
async function submodules(git: (...args: string[]) => Promise<string>, workspace: string): Promise<string[]> {
  const index = await git("ls-files", "-z", "--stage")
  return index
    .split("\0")
    .filter((line) => line.startsWith("160000 "))
    .map((line) => join(workspace, line.slice(line.indexOf("\t") + 1)))
}

/** The path or the first entry below it that changed; git names a repository inside of another as a whole. */
async function changedBelow(path: string, since: number): Promise<string | undefined> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return undefined
  if (found.isDirectory()) return firstChange(path, since)
  return found.ctimeMs > since ? path : undefined
}
