/** `--cwd`: the current folder becomes the workspace as a copy; the folder itself is never touched. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"
import { createScripted, NOTHING, type Remains, type Scripted, STAY } from "./scripted.ts"

let scripted: Scripted
beforeAll(async () => {
  scripted = await createScripted()
})
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

const left = async (): Promise<Remains> => ({ ...(await scripted.remains()), networks: [] })

function folder(): string {
  return mkdtempSync(join(scripted.world.cwd, "project-"))
}

async function sh(cwd: string, line: string): Promise<string> {
  const result = await run(["bash", "-ec", line], { cwd })
  if (result.code !== 0) throw new Error(result.stderr)
  return result.stdout.trim()
}

const COMMIT =
  "git init -q -b main . && git -c user.name=a -c user.email=a@b.c commit -qm first --allow-empty && git add . && git -c user.name=a -c user.email=a@b.c commit -qm second"

/** What a folder is to whoever looks at it: names, kinds, modes, owners, times, targets and contents. */
function shape(root: string): Promise<string> {
  return sh(
    root,
    "find . -printf '%p %y %m %U %G %T@ %C@ %l\\n' | sort; find . -type f -exec sha256sum {} + | sort",
  )
}

test("the copy has files, folders, modes, links and .git, all owned by the agent", async () => {
  const cwd = folder()
  writeFileSync(join(cwd, "plain"), "plain text\n")
  writeFileSync(join(cwd, "run.sh"), "#!/bin/sh\n", { mode: 0o755 })
  writeFileSync(join(cwd, "secret"), "x", { mode: 0o600 })
  writeFileSync(join(cwd, " odd name\n\u00e4\u{1f600}"), "odd\n")
  writeFileSync(join(cwd, "large"), Buffer.alloc(3 * 1024 * 1024, "abc"))
  mkdirSync(join(cwd, "empty"))
  mkdirSync(join(cwd, "deep", "er"), { recursive: true })
  writeFileSync(join(cwd, "deep", "er", "x".repeat(200)), "deep\n")
  symlinkSync("plain", join(cwd, "link"))
  symlinkSync("/nowhere/at/all", join(cwd, "dangling"))
  chmodSync(join(cwd, "deep"), 0o750)
  await sh(cwd, COMMIT)
  const before = await shape(cwd)

  const identity = await scripted.detached(STAY, { args: ["--cwd"], cwd })
  const look = "find . -not -path './.git*' -printf '%p %y %m %U:%G %l\\n' | sort"
  const inside = await scripted.inside(identity, `cd /workspace && ${look}`)
  const outside = (await sh(cwd, look.replace("%U:%G", "1000:1000"))).replace(/^\. d \d+/m, ". d 755")
  expect(inside.replace(/^\. d \d+/m, ". d 755")).toBe(outside)
  expect(await scripted.inside(identity, "cd /workspace && sha256sum large plain deep/er/x*")).toBe(
    await sh(cwd, "sha256sum large plain deep/er/x*"),
  )
  expect(
    await scripted.inside(identity, "cd /workspace && git status --porcelain && git log --format=%s"),
  ).toBe("second\nfirst")
  // The agent may write to all of it.
  await scripted.inside(
    identity,
    "cd /workspace && echo more >>plain && rm -r deep && git gc -q && touch new",
  )
  await scripted.world.ok("stop", identity)
  expect(await shape(cwd)).toBe(before)
})

test("sockets, pipes and devices are left out, and the rest is copied", async () => {
  const cwd = folder()
  await sh(cwd, "mkfifo pipe; mknod device c 1 3; mkdir sub; echo x >sub/file")
  const server = createServer()
  await new Promise<void>((done) => server.listen(join(cwd, "sub", "socket"), done))
  const identity = await scripted.detached(STAY, { args: ["--cwd"], cwd })
  expect(await scripted.inside(identity, "cd /workspace && find . | sort")).toBe(".\n./sub\n./sub/file")
  server.close()
})

test("a link in the folder that points out of it is copied as a link, not as what it points to", async () => {
  const cwd = folder()
  const secret = join(scripted.world.cwd, "outside-secret")
  writeFileSync(secret, "not for the agent\n")
  symlinkSync(secret, join(cwd, "link"))
  symlinkSync(scripted.world.home, join(cwd, "home"))
  const identity = await scripted.detached(STAY, { args: ["--cwd"], cwd })
  expect(await scripted.inside(identity, "cat /workspace/link /workspace/home/* 2>&1 || true")).not.toContain(
    "not for",
  )
  expect(await scripted.inside(identity, "readlink /workspace/link")).toBe(secret)
})

test("setuid and setgid bits do not come along", async () => {
  const cwd = folder()
  writeFileSync(join(cwd, "tool"), "x")
  chmodSync(join(cwd, "tool"), 0o6755)
  const identity = await scripted.detached(STAY, { args: ["--cwd"], cwd })
  expect(await scripted.inside(identity, "stat -c %a /workspace/tool")).toBe("755")
})

test("a copy that the agent left as it was is not kept", async () => {
  const cwd = folder()
  writeFileSync(join(cwd, "file"), "x")
  await sh(cwd, COMMIT)
  const result = await scripted.start("cat file", {
    args: ["--cwd", "--prompt", "x"],
    cwd,
  })
  expect(result.stdout).toBe("x")
  expect(result.stderr).not.toContain("Kept")
  expect(await left()).toEqual(NOTHING)
  expect(readdirSync(cwd).sort()).toEqual([".git", "file"])
})

test("a copy in which the agent changed one byte is kept", async () => {
  const cwd = folder()
  writeFileSync(join(cwd, "file"), "x")
  const script = "touch -r file /tmp/when; printf y >file; touch -r /tmp/when file"
  const result = await scripted.start(script, { args: ["--cwd", "--prompt", "x"], cwd })
  expect(result.stderr).toContain("bottle resume")
  expect(lstatSync(join(cwd, "file")).size).toBe(1)
})

test("a folder that cannot be read whole ends the start with its place, and nothing is left", async () => {
  const cwd = folder()
  // Deeper than any path may be long (PATH_MAX, 4096 bytes): it can be made step by step, and not be named.
  const name = "x".repeat(100)
  await sh(cwd, `for i in $(seq 50); do mkdir ${name}; cd ${name}; done`)
  const result = await scripted.start("true", { args: ["--cwd", "--prompt", "x"], cwd })
  await sh(cwd, `rm -rf ${name}`)
  expect(result.code).toBe(1)
  expect(result.stderr).toContain(`Could not copy ${cwd}`)
  expect(result.stderr).toContain("ENAMETOOLONG")
  expect(await left()).toEqual(NOTHING)
})

test("a linked worktree is refused with the way to copy it", async () => {
  const main = folder()
  await sh(main, `echo x >x; ${COMMIT}; git worktree add -q ../linked`)
  const result = await scripted.start("true", {
    args: ["--cwd", "--prompt", "x"],
    cwd: join(scripted.world.cwd, "linked"),
  })
  expect(result.code).toBe(2)
  expect(result.stderr).toContain("worktree")
  expect(result.stderr).toContain("git clone")
})
