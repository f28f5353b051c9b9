import { expect, test } from "bun:test"
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { lockState } from "../../src/bottle/state.ts"
import { stateOf, stateRoot } from "../../src/bottle/state-folder.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { lockHolder, tryLock, waitForLock } from "../../src/runtime/lock-file.ts"
import { startWorker } from "../fixtures/state-process.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const ID = "dev-abc12"

test("a second resume of one identity is refused while the first lives, and told whom to wait for", async () => {
  using home = temporaryFolder()
  mkdirSync(stateRoot(home.path))
  await using first = await startWorker("lock", home.path, ID)
  expect(first.answer).toBe("locked")
  const error = await lockState(stateOf(home.path, ID)).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(BottleError)
  expect((error as BottleError).why).toContain(String(first.owner.pid))
  expect((error as BottleError).next).toContain(`bottle attach ${ID}`)
})

test("the same process cannot lock an identity twice", async () => {
  using home = temporaryFolder()
  mkdirSync(stateRoot(home.path))
  using _held = await lockState(stateOf(home.path, ID))
  await expect(lockState(stateOf(home.path, ID))).rejects.toThrow("is in use")
})

test("a lock ends with its scope, and the next one gets it", async () => {
  using home = temporaryFolder()
  mkdirSync(stateRoot(home.path))
  const state = stateOf(home.path, ID)
  {
    using _held = await lockState(state)
    expect(await lockHolder(state.lockFile)).toBeDefined()
  }
  expect(existsSync(state.lockFile)).toBe(false)
  using _again = await lockState(state)
})

test("the lock of a killed process is taken over by exactly one of many", async () => {
  using home = temporaryFolder()
  mkdirSync(stateRoot(home.path))
  const state = stateOf(home.path, ID)
  {
    await using killed = await startWorker("lock", home.path, ID)
    await killed.kill()
  }
  expect(existsSync(state.lockFile)).toBe(true)
  expect(await lockHolder(state.lockFile)).toBeUndefined()
  const here = Array.from({ length: 20 }, () => tryLock(state.lockFile))
  const [workers, results] = await Promise.all([
    Promise.all(Array.from({ length: 4 }, () => startWorker("lock", home.path, ID))),
    Promise.all(here),
  ])
  try {
    const winners = [
      ...workers.filter((worker) => worker.answer === "locked"),
      ...results.filter((result) => "lock" in result),
    ]
    expect(winners).toHaveLength(1)
    expect(readdirSync(stateRoot(home.path))).toEqual([`${ID}.lock`])
  } finally {
    for (const result of results) if ("lock" in result) result.lock[Symbol.dispose]()
    await Promise.all(workers.map((worker) => worker[Symbol.asyncDispose]()))
  }
})

test("a process that was killed while taking over does not block the next one", async () => {
  using home = temporaryFolder()
  mkdirSync(stateRoot(home.path))
  const path = join(home.path, "x.lock")
  const dead = { pid: 1, start_time: "1", boot_id: "an earlier boot", pid_namespace: "" }
  const stale = `${JSON.stringify({ owner: dead, nonce: "1" })}\n`
  writeFileSync(path, stale)
  const digest = new Bun.CryptoHasher("sha256").update(stale).digest("hex").slice(0, 16)
  writeFileSync(`${path}.${digest}`, `${JSON.stringify({ owner: dead, nonce: "2" })}\n`)
  const result = await tryLock(path)
  expect(result).toHaveProperty("lock")
  expect(readdirSync(home.path).sort()).toEqual(["state", "x.lock"])
})

test("waiting for a lock ends when its holder lets go, and gives up at the bound", async () => {
  using home = temporaryFolder()
  const path = join(home.path, "x.lock")
  const held = await waitForLock(path, 0)
  await expect(waitForLock(path, 30)).rejects.toThrow("stays locked")
  const next = waitForLock(path, 10_000)
  held[Symbol.dispose]()
  using _ = await next
})

test("a lock that is not ours to read is an error that names the file, never a free lock", async () => {
  using home = temporaryFolder()
  const path = join(home.path, "x.lock")
  for (const text of ["", "{}", '{"owner":{"pid":-1}}', "x".repeat(5000)]) {
    writeFileSync(path, text)
    await expect(tryLock(path)).rejects.toThrow(path)
  }
})
