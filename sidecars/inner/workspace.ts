/**
 * Whether something would be lost if the workspace went away: judged inside the sandbox, where running git on the
 * agent's own repository can do no more than the agent could.
 */
import { execFile } from "node:child_process"
import { type Dirent, lstatSync } from "node:fs"
import { opendir } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import type { WorkspaceState } from "../../src/policy/wire/lifeline.ts"

/** Entries looked at before the answer is "changed", to end in seconds whatever the agent left. */
const ENTRIES_MAX = 2_000_000
/** git answers within this, in milliseconds. */
const GIT_WITHIN_MS = 60_000

const run = promisify(execFile)

/**
 * `since` is the time the agent started, in milliseconds: an inode changed after it has work of this session.
 */
export async function judgeWorkspace(workspace: string, since: number): Promise<WorkspaceState> {
  try {
    const changed = await firstChange(workspace, since)
    if (changed === undefined) return { verdict: "unchanged", detail: "" }
    if (lstatSync(join(workspace, ".git"), { throwIfNoEntry: false }) === undefined) {
      return { verdict: "kept-work", detail: `${changed} is new or changed` }
    }
    return await judgeRepository(workspace, since)
  } catch (error) {
    // What cannot be judged is kept.
    return { verdict: "kept-work", detail: `could not be judged: ${String(error).slice(0, 400)}` }
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
      if (isFolder(entry)) folders.push(path)
      else if (lstatSync(path).ctimeMs > since) return path
    }
  }
  return undefined
}

function isFolder(entry: Dirent): boolean {
  return entry.isDirectory()
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
  const fresh = ignored.split("\0").find((name) => name !== "" && changedSince(join(workspace, name), since))
  if (fresh !== undefined)
    return { verdict: "kept-work", detail: `${fresh} is ignored by git, and new or changed` }
  if ((await git("stash", "list")) !== "") return { verdict: "kept-work", detail: "there are stashes" }
  const unpushed = await git(
    "rev-list",
    "--max-count=1000",
    "--branches",
    "--tags",
    "HEAD",
    "--not",
    "--remotes",
  )
  if (unpushed !== "")
    return { verdict: "kept-work", detail: `${unpushed.trim().split("\n").length} commits are not pushed` }
  return { verdict: "pushed", detail: "" }
}

function count(zeroSeparated: string): number {
  return zeroSeparated.split("\0").filter((part) => part !== "").length
}

function changedSince(path: string, since: number): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false })
  return found === undefined || found.ctimeMs > since
}
