import { expect, test } from "bun:test"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { formatMetadata } from "../../src/bottle/metadata.ts"
import {
  createState,
  isPreserved,
  listStates,
  lockState,
  openState,
  preserve,
  readMetadata,
  reapable,
  removeState,
  sweep,
  writeMetadata,
} from "../../src/bottle/state.ts"
import { stateOf, stateRoot } from "../../src/bottle/state-folder.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { someMetadata } from "../fixtures/metadata.ts"
import { startWorker } from "../fixtures/state-process.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const ID = "dev-abc12"
const GONE_OWNER = { pid: 1, start_time: "1", boot_id: "an earlier boot", pid_namespace: "" }
const NOTHING_TO_KEEP = {
  code: 0,
  at: "2026-11-20T11:00:00.000Z",
  workspace: { verdict: "unchanged" as const, detail: "" },
}

/** Words before a command that make it run without the right to pass over file modes. */
const BOUND_BY_MODES =
  process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] : []

const modeOf = (path: string) => statSync(path).mode & 0o777

test("a new state has every folder of the layout, private whatever the umask", async () => {
  using home = temporaryFolder()
  const umask = process.umask(0o277)
  try {
    using state = await createState(join(home.path, "deep", "home"), ID)
    await writeMetadata(state, await someMetadata(ID))
    expect(readdirSync(state.dir).sort()).toEqual([
      "agent",
      "gateway",
      "ledger",
      "log",
      "metadata.json",
      "transcript",
      "workspace",
    ])
    for (const path of [state.dir, state.agent, state.gateway, state.workspace])
      expect(modeOf(path)).toBe(0o700)
    expect(modeOf(state.metadata)).toBe(0o600)
    expect(modeOf(state.lockFile)).toBe(0o600)
  } finally {
    process.umask(umask)
  }
})

test("a wide umask does not make a state readable by others", async () => {
  using home = temporaryFolder()
  const umask = process.umask(0)
  try {
    using state = await createState(join(home.path, "home"), ID)
    await writeMetadata(state, await someMetadata(ID))
    expect(modeOf(join(home.path, "home"))).toBe(0o700)
    expect(modeOf(stateRoot(join(home.path, "home")))).toBe(0o700)
    expect(modeOf(state.dir)).toBe(0o700)
    expect(modeOf(state.metadata)).toBe(0o600)
  } finally {
    process.umask(umask)
  }
})

test("of many processes that start one identity at once exactly one gets its folder", async () => {
  using home = temporaryFolder()
  const workers = await Promise.all(Array.from({ length: 6 }, () => startWorker("create", home.path, ID)))
  try {
    const answers = workers.map((worker) => worker.answer)
    expect(answers.filter((answer) => answer === "created")).toHaveLength(1)
    expect(answers.filter((answer) => answer.startsWith("refused: "))).toHaveLength(5)
  } finally {
    await Promise.all(workers.map((worker) => worker[Symbol.asyncDispose]()))
  }
})

test("a second start of an identity that exists is refused and leaves it alone", async () => {
  using home = temporaryFolder()
  {
    using first = await createState(home.path, ID)
    writeFileSync(join(first.workspace, "work"), "work")
  }
  await expect(createState(home.path, ID)).rejects.toThrow("exists already")
  expect(readFileSync(join(stateOf(home.path, ID).workspace, "work"), "utf8")).toBe("work")
})

test("metadata comes back as it was written, by rename", async () => {
  using home = temporaryFolder()
  using state = await createState(home.path, ID)
  expect(await readMetadata(state)).toBeUndefined()
  const metadata = await someMetadata(ID, { phase: "ended", exit: NOTHING_TO_KEEP })
  await writeMetadata(state, await someMetadata(ID))
  const before = statSync(state.metadata).ino
  await writeMetadata(state, metadata)
  expect(await readMetadata(state)).toEqual(metadata)
  expect(statSync(state.metadata).ino).not.toBe(before)
  expect(readdirSync(state.dir).filter((name) => name.endsWith(".part"))).toEqual([])
})

test("opening a bottle that does not exist says so, and where bottles are listed", async () => {
  using home = temporaryFolder()
  const error = await openState(home.path, ID).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(BottleError)
  expect((error as BottleError).what).toBe(`There is no bottle named ${ID}`)
  expect((error as BottleError).next).toContain("bottle list active")
})

test.each(["../state", "a/b-abcde", "", ".", "dev-ABCDE"])("%p never becomes a path", (name) => {
  expect(() => stateOf("/nowhere", name)).toThrow("is not the identity of a bottle")
})

test("a symbolic link in place of a state, or of the folder of states, is not opened", async () => {
  using home = temporaryFolder()
  using elsewhere = temporaryFolder()
  mkdirSync(stateRoot(home.path))
  symlinkSync(elsewhere.path, join(stateRoot(home.path), ID))
  await expect(openState(home.path, ID)).rejects.toThrow("is not the state of a bottle")

  using other = temporaryFolder()
  mkdirSync(join(elsewhere.path, ID))
  symlinkSync(elsewhere.path, stateRoot(other.path))
  await expect(openState(other.path, ID)).rejects.toThrow("is not the state of a bottle")
  await expect(createState(other.path, "dev-zzzzz")).rejects.toThrow("cannot be used")
  expect(readdirSync(elsewhere.path)).toEqual([ID])
})

test("the list holds bottles, half-written ones and strange things, and fails for none of them", async () => {
  using home = temporaryFolder()
  expect(await listStates(home.path)).toEqual([])
  {
    using good = await createState(home.path, "good-aaaaa")
    await writeMetadata(good, await someMetadata("good-aaaaa"))
    await preserve(good, "unpushed work")
    using _half = await createState(home.path, "half-aaaaa")
  }
  const root = stateRoot(home.path)
  writeFileSync(join(root, "file-aaaaa"), "")
  mkdirSync(join(root, "Not An Identity\u001b[2J"))
  symlinkSync(join(root, "good-aaaaa"), join(root, "link-aaaaa"))
  for (const [name, text] of [
    ["json-aaaaa", "{"],
    ["newer-aaaaa", '{"version": 7}'],
    ["large-aaaaa", " ".repeat(300 * 1024)],
    ["other-aaaaa", formatMetadata(await someMetadata("good-aaaaa"))],
  ] as const) {
    mkdirSync(join(root, name))
    writeFileSync(join(root, name, "metadata.json"), text)
  }
  mkdirSync(join(root, "device-aaaaa"))
  symlinkSync("/dev/zero", join(root, "device-aaaaa", "metadata.json"))

  const listed = await listStates(home.path)
  const shown = listed.map((entry) =>
    entry.kind === "broken" ? `${entry.name}: ${entry.reason}` : `${entry.state.identity}: ${entry.kind}`,
  )
  const reasons = shown.map((line) => line.replaceAll(root, "$"))
  expect(reasons).toEqual([
    "Not An Identity?[2J: its name is not an identity",
    "device-aaaaa: $/device-aaaaa/metadata.json is a symbolic link",
    "file-aaaaa: it is not a folder",
    "good-aaaaa: bottle",
    "half-aaaaa: unfinished",
    "json-aaaaa: $/json-aaaaa/metadata.json cannot be read: it is not JSON: it was changed or cut short",
    "large-aaaaa: $/large-aaaaa/metadata.json is larger than 262144 bytes",
    "link-aaaaa: it is a symbolic link",
    "newer-aaaaa: $/newer-aaaaa/metadata.json was written by a newer bottle: its schema version is 7, this program knows 1",
    "other-aaaaa: $/other-aaaaa/metadata.json cannot be used: it is the metadata of good-aaaaa: the folder was renamed or copied",
  ])
  expect(listed.find((entry) => entry.kind === "bottle")).toMatchObject({ preserved: true })
})

test("the list is bounded, and says that it ended early", async () => {
  using home = temporaryFolder()
  mkdirSync(stateRoot(home.path))
  for (let i = 0; i < 4100; i += 1) mkdirSync(join(stateRoot(home.path), `x-${String(i).padStart(5, "0")}`))
  const listed = await listStates(home.path)
  expect(listed).toHaveLength(4097)
  expect(listed.at(-1)).toMatchObject({ kind: "broken", reason: expect.stringContaining("more than 4096") })
})

test("a state is removed with everything in it, and links in it are not followed", async () => {
  using home = temporaryFolder()
  using elsewhere = temporaryFolder()
  writeFileSync(join(elsewhere.path, "precious"), "")
  {
    using state = await createState(home.path, ID)
    symlinkSync(elsewhere.path, join(state.workspace, "link"))
    await removeState(state)
  }
  expect(readdirSync(stateRoot(home.path))).toEqual([])
  expect(existsSync(join(elsewhere.path, "precious"))).toBe(true)
})

test("folders that the agent left read-only do not keep a state from being removed", async () => {
  using home = temporaryFolder()
  using elsewhere = temporaryFolder()
  chmodSync(elsewhere.path, 0o555)
  {
    using state = await createState(home.path, ID)
    const cache = join(state.workspace, "mod", "cache")
    mkdirSync(cache, { recursive: true })
    writeFileSync(join(cache, "file"), "")
    symlinkSync(elsewhere.path, join(cache, "link"))
    chmodSync(cache, 0o555)
    chmodSync(join(state.workspace, "mod"), 0)
  }
  // Modes do not bind a process with CAP_DAC_OVERRIDE, which root has: the worker runs without it.
  await using worker = await startWorker("remove", home.path, ID, BOUND_BY_MODES)
  expect(worker.answer).toBe("removed")
  expect(readdirSync(stateRoot(home.path))).toEqual([])
  expect(modeOf(elsewhere.path)).toBe(0o555)
})

test("a link in place of the state is refused, and so is a state whose places were moved outside", async () => {
  using home = temporaryFolder()
  using elsewhere = temporaryFolder()
  writeFileSync(join(elsewhere.path, "precious"), "")
  mkdirSync(stateRoot(home.path))
  const state = stateOf(home.path, ID)
  symlinkSync(elsewhere.path, state.dir)
  using held = await lockState(state)
  await expect(removeState(held)).rejects.toThrow("was not removed")
  await expect(removeState({ ...held, dir: elsewhere.path })).rejects.toThrow("was not removed")
  await expect(removeState({ ...held, dir: stateRoot(home.path) })).rejects.toThrow("was not removed")
  expect(existsSync(join(elsewhere.path, "precious"))).toBe(true)
})

test("a preserved state is removed only when the user asks for that", async () => {
  using home = temporaryFolder()
  using state = await createState(home.path, ID)
  expect(await isPreserved(state)).toBe(false)
  await preserve(state, "unpushed work")
  expect(await isPreserved(state)).toBe(true)
  await expect(removeState(state)).rejects.toThrow("was not removed")
  expect(existsSync(state.dir)).toBe(true)
  await removeState(state, { preserved: true })
  expect(existsSync(state.dir)).toBe(false)
})

test("a half-written state is reapable once its process was killed, and not before", async () => {
  using home = temporaryFolder()
  await using worker = await startWorker("half", home.path, ID)
  expect(worker.answer).toBe("half")
  const state = stateOf(home.path, ID)
  expect(await reapable(state)).toEqual({
    reap: false,
    reason: `process ${worker.owner.pid} is working with it`,
  })
  await worker.kill()
  expect(await reapable(state)).toEqual({ reap: true, reason: "its start was cut short" })
  using held = await lockState(state)
  expect((await reapable(held)).reap).toBe(true)
  await removeState(held)
  expect(existsSync(state.dir)).toBe(false)
})

test.each([
  ["a start that was cut short", { phase: "starting", owner: GONE_OWNER }, true],
  ["a start whose process lives", { phase: "starting" }, false],
  ["a running one, whoever started it", { phase: "running", owner: GONE_OWNER }, false],
  ["an end with nothing to keep", { phase: "ended", exit: NOTHING_TO_KEEP }, true],
  ["an end that nobody saw", { phase: "ended" }, false],
  ["a failed agent", { phase: "ended", exit: { ...NOTHING_TO_KEEP, code: 3 } }, false],
  [
    "work that is nowhere else",
    { phase: "ended", exit: { ...NOTHING_TO_KEEP, workspace: { verdict: "kept-work", detail: "1 commit" } } },
    false,
  ],
] as const)("%s: reapable is decided by what could be lost", async (_, over, reap) => {
  using home = temporaryFolder()
  {
    using state = await createState(home.path, ID)
    await writeMetadata(state, await someMetadata(ID, over))
  }
  const state = await openState(home.path, ID)
  expect((await reapable(state)).reap).toBe(reap)
  await preserve(state, "kept")
  expect(await reapable(state)).toEqual({ reap: false, reason: "it is preserved" })
})

test("the sweep finishes removals and drops the locks of the dead, and touches nothing else", async () => {
  using home = temporaryFolder()
  mkdirSync(stateRoot(home.path))
  await using dead = await startWorker("lock", home.path, "dead-aaaaa")
  expect(dead.answer).toBe("locked")
  await dead.kill()
  await using alive = await startWorker("lock", home.path, "alive-aaaaa")
  expect(alive.answer).toBe("locked")
  using kept = await createState(home.path, ID)
  const root = stateRoot(home.path)
  mkdirSync(join(root, ".gone-old-aaaaa-01020304", "workspace"), { recursive: true })
  writeFileSync(join(root, "notes.txt"), "the user's own")

  await sweep(home.path)
  expect(readdirSync(root).sort()).toEqual(["alive-aaaaa.lock", ID, `${ID}.lock`, "notes.txt"])
  expect(existsSync(kept.workspace)).toBe(true)
})
