import { expect, test } from "bun:test"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { run } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const WORKER = fileURLToPath(new URL("../fixtures/state-on-full-disk.ts", import.meta.url))

test("a full disk ends in one message with the next step, and the old metadata stays whole", async () => {
  using folder = temporaryFolder()
  const home = join(folder.path, "home")
  mkdirSync(home)
  // A file system of 128 KiB in a mount namespace of its own: it vanishes with the process that sees it.
  const script = 'mount -t tmpfs -o size=128k,mode=0700 tmpfs "$1" && exec "$2" "$3" "$1"'
  const argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", home]
  const result = await run([...argv, process.execPath, WORKER], { timeoutMs: 30_000 })
  expect(result.stderr).toBe("")
  expect(JSON.parse(result.stdout)).toEqual({
    rewritten: "The disk is full: free some space (`bottle cleanup` removes ended bottles), then try again",
    created: "The disk is full: free some space (`bottle cleanup` removes ended bottles), then try again",
    phase: "running",
    left: ["dev-abc12", "dev-abc12.lock"],
    parts: [],
  })
})
