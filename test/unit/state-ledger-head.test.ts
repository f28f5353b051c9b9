import { expect, test } from "bun:test"
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { recallHead, rememberHead } from "../../src/bottle/ledger-head.ts"
import { createState } from "../../src/bottle/state.ts"
import { EMPTY_HEAD, type LedgerHead } from "../../src/policy/ledger.ts"
import { startWorker } from "../fixtures/state-process.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const head = (seq: number, letter = "a"): LedgerHead => ({ seq, hash: letter.repeat(64) })

test("the head is remembered as it grows, under a key that is private to the home", async () => {
  using home = temporaryFolder()
  using state = await createState(home.path, "dev-abc12")
  expect(await recallHead(state)).toEqual({ head: undefined })
  for (const next of [EMPTY_HEAD, head(1), head(1), head(7, "b")]) {
    expect(await rememberHead(state, next)).toEqual({ head: next })
    expect(await recallHead(state)).toEqual({ head: next })
  }
  const key = statSync(join(home.path, "ledger.key"))
  expect(key.mode & 0o777).toBe(0o600)
  expect(key.size).toBe(32)
  expect(statSync(state.ledgerHead).mode & 0o777).toBe(0o600)
})

test("a ledger that went back, or tells another story of the same entry, is a fault and is not remembered", async () => {
  using home = temporaryFolder()
  using state = await createState(home.path, "dev-abc12")
  await rememberHead(state, head(7))
  expect(await rememberHead(state, head(6))).toMatchObject({ fault: { seq: 6 } })
  expect(await rememberHead(state, EMPTY_HEAD)).toMatchObject({ fault: { seq: 0 } })
  expect(await rememberHead(state, head(7, "b"))).toMatchObject({ fault: { seq: 7 } })
  expect(await recallHead(state)).toEqual({ head: head(7) })
})

test("a memory that was edited, or taken from another bottle, is a fault", async () => {
  using home = temporaryFolder()
  using state = await createState(home.path, "dev-abc12")
  using other = await createState(home.path, "dev-zzzzz")
  await rememberHead(state, head(7))
  await rememberHead(other, head(3))
  const honest = readFileSync(state.ledgerHead, "utf8")
  for (const text of [
    honest.replace('"seq":7', '"seq":2'),
    readFileSync(other.ledgerHead, "utf8"),
    honest.slice(0, 20),
    "",
  ]) {
    writeFileSync(state.ledgerHead, text)
    expect(await recallHead(state)).toHaveProperty("fault")
    expect(await rememberHead(state, head(9))).toHaveProperty("fault")
  }
  writeFileSync(state.ledgerHead, honest)
  expect(await recallHead(state)).toEqual({ head: head(7) })
})

test("commands that need the key for the first time at once end up with one key", async () => {
  using home = temporaryFolder()
  const identities = ["a-aaaaa", "b-bbbbb", "c-ccccc", "d-ddddd"]
  for (const identity of identities) {
    using _ = await createState(home.path, identity)
  }
  const workers = await Promise.all(identities.map((identity) => startWorker("key", home.path, identity)))
  try {
    expect(workers.map((worker) => worker.answer)).toEqual(identities.map(() => "remembered"))
  } finally {
    await Promise.all(workers.map((worker) => worker[Symbol.asyncDispose]()))
  }
})

test("of heads that arrive at once the furthest stays", async () => {
  using home = temporaryFolder()
  using state = await createState(home.path, "dev-abc12")
  await Promise.all([5, 2, 9, 1, 7].map((seq) => rememberHead(state, head(seq))))
  expect(await recallHead(state)).toEqual({ head: head(9) })
})

test("of two commands at once the older answer may come last, and is no fault", async () => {
  using home = temporaryFolder()
  using state = await createState(home.path, "dev-abc12")
  await rememberHead(state, head(3))
  const begun = await recallHead(state)
  await rememberHead(state, head(9), begun)
  expect(await rememberHead(state, head(5, "b"), begun)).toEqual({ head: head(9) })
  expect(await recallHead(state)).toEqual({ head: head(9) })
})

test("a ledger that is behind what was known before it was asked is a fault, whoever else asked meanwhile", async () => {
  using home = temporaryFolder()
  using state = await createState(home.path, "dev-abc12")
  await rememberHead(state, head(3))
  const begun = await recallHead(state)
  await rememberHead(state, head(9), begun)
  for (const cut of [head(2), head(3, "b"), head(9, "b")]) {
    expect(await rememberHead(state, cut, begun)).toMatchObject({ fault: { seq: cut.seq } })
  }
  expect(await rememberHead(state, head(5), await recallHead(state))).toMatchObject({ fault: { seq: 5 } })
  expect(await recallHead(state)).toEqual({ head: head(9) })
})

test("a damaged key is an error and is not replaced by a new one", async () => {
  using home = temporaryFolder()
  using state = await createState(home.path, "dev-abc12")
  await rememberHead(state, head(1))
  const path = join(home.path, "ledger.key")
  chmodSync(path, 0o600)
  writeFileSync(path, "short")
  await expect(recallHead(state)).rejects.toThrow("The key of the ledgers cannot be read")
  expect(readFileSync(path, "utf8")).toBe("short")
})
