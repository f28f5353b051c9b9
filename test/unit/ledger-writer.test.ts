/** The ledger's files, as init writes them and as crashes leave them. */
import { expect, test } from "bun:test"
import { appendFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { LedgerWriter } from "../../sidecars/init/ledger-writer.ts"
import {
  type LedgerEntry,
  type LedgerEvent,
  ledgerEntry,
  ledgerEvent,
  verify,
} from "../../src/policy/ledger.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const event = (n: number, more: LedgerEvent["data"] = {}): LedgerEvent => ({
  by: "egress",
  kind: "allow",
  data: { n, ...more },
})

/** Every line of every file, as whoever reads the ledger later takes it. */
function onDisk(dir: string): LedgerEntry[] {
  return readdirSync(dir)
    .sort()
    .flatMap((name) => readFileSync(join(dir, name), "utf8").split("\n").slice(0, -1))
    .map((line) => ledgerEntry().parse(JSON.parse(line)))
}

test("the chain goes on over a restart of the writer", () => {
  using folder = temporaryFolder()
  for (let session = 0; session < 3; session += 1) {
    using writer = new LedgerWriter(folder.path)
    expect(writer.head.seq).toBe(session * 2)
    writer.append(event(1))
    writer.append(event(2))
  }
  expect(verify(onDisk(folder.path))).toMatchObject({ head: { seq: 6 } })
})

test("a line that was torn off is taken back, and the next one is whole", () => {
  using folder = temporaryFolder()
  const file = join(folder.path, "ledger-000001.jsonl")
  {
    using writer = new LedgerWriter(folder.path)
    writer.append(event(1))
    writer.append(event(2))
  }
  for (const damage of [
    () => appendFileSync(file, '{"by":"egress","kind":"al'),
    // The whole entry, but for its newline.
    () => truncateSync(file, readFileSync(file).length - 1),
  ]) {
    damage()
    using writer = new LedgerWriter(folder.path)
    writer.append(event(3))
    expect(verify(onDisk(folder.path))).toMatchObject({ head: writer.head })
  }
})

test("a full file is followed by the next, and the chain runs through both", () => {
  using folder = temporaryFolder()
  using writer = new LedgerWriter(folder.path)
  const filler = "x".repeat(1000)
  const wide = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`d${i}`, filler]))
  for (let n = 0; n < 900; n += 1) writer.append(event(n, wide))
  expect(readdirSync(folder.path).length).toBeGreaterThan(2)
  expect(verify(onDisk(folder.path))).toEqual({ head: writer.head })
  const read = [...writer.read(0)].flat()
  expect(read.length).toBe(900)
  expect([...writer.read(898)].flat().map((entry) => entry.seq)).toEqual([899, 900])
  expect([...writer.read(900)].flat()).toEqual([])
})

test("what is read from memory is what is read from the files", () => {
  using folder = temporaryFolder()
  using writer = new LedgerWriter(folder.path)
  for (let n = 0; n < 3000; n += 1) writer.append(event(n))
  for (const after of [0, 1, 1000, 2487, 2488, 2489, 2999]) {
    const seen = [...writer.read(after)].flat()
    expect(seen).toEqual(onDisk(folder.path).slice(after))
  }
})

test("a file that is no part of the ledger is passed over", () => {
  using folder = temporaryFolder()
  writeFileSync(join(folder.path, "ledger-1.jsonl"), "?")
  writeFileSync(join(folder.path, "notes"), "?")
  using writer = new LedgerWriter(folder.path)
  expect(writer.append(event(1)).seq).toBe(1)
})

test("an event of a daemon that was taken over has names without control characters, and few of them", () => {
  const named = (name: string) =>
    ledgerEvent().safeParse({ by: "egress", kind: "allow", data: { [name]: 1 } })
  expect(named("host").success).toBe(true)
  for (const name of ["\u001b]0;owned\u0007", "a\u009b2J", "a b", "x".repeat(49), ""])
    expect(named(name).success).toBe(false)
  const many = (count: number) => ({
    by: "egress",
    kind: "allow",
    data: Object.fromEntries(Array.from({ length: count }, (_, i) => [`d${i}`, "\u0001".repeat(1024)])),
  })
  expect(ledgerEvent().safeParse(many(24)).success).toBe(true)
  expect(ledgerEvent().safeParse(many(25)).success).toBe(false)
})
