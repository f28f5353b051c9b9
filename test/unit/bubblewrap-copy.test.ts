import { expect, test } from "bun:test"
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { copyTree, removeTree } from "../../src/backend/bubblewrap/tree-copy.ts"
import { treeSize } from "../../src/backend/bubblewrap/tree-size.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { run } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const signal = new AbortController().signal
const isRoot = process.getuid!() === 0

function tree(path: string): { from: string; to: string } {
  const from = join(path, "from")
  mkdirSync(from)
  return { from, to: join(path, "to") }
}

async function faultOf(action: Promise<unknown>): Promise<BottleError> {
  const fault = await action.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(fault).toBeInstanceOf(BottleError)
  return fault as BottleError
}

test("a copy has the content, the modes and the times of its folder", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  mkdirSync(join(from, "a/b"), { recursive: true })
  writeFileSync(join(from, "a/b/run.sh"), "#!/bin/sh\n", { mode: 0o755 })
  writeFileSync(join(from, "a/secret"), "x", { mode: 0o600 })
  const large = Buffer.alloc(3_000_001, "0123456789")
  writeFileSync(join(from, "large"), large)
  utimesSync(join(from, "a/secret"), 1_600_000_000, 1_600_000_000)
  utimesSync(join(from, "a"), 1_500_000_000, 1_500_000_000)
  chmodSync(join(from, "a/b"), 0o555)
  let told = 0
  const progress = (bytes: number) => {
    told = bytes
  }
  const result = await copyTree(from, to, { signal, progress })
  expect(result).toEqual({ files: 3, bytes: large.length + 11, skipped: [] })
  expect(told).toBe(result.bytes)
  expect(statSync(join(to, "a/b/run.sh")).mode & 0o7777).toBe(0o755)
  expect(statSync(join(to, "a/secret")).mode & 0o7777).toBe(0o600)
  expect(statSync(join(to, "a/b")).mode & 0o7777).toBe(0o555)
  expect(statSync(join(to, "a/secret")).mtimeMs).toBe(1_600_000_000_000)
  expect(statSync(join(to, "a")).mtimeMs).toBe(1_500_000_000_000)
  expect(readFileSync(join(to, "large")).equals(large)).toBe(true)
})

test("a hard link to a file outside becomes a file of its own", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  const outside = join(folder.path, "outside")
  writeFileSync(outside, "theirs")
  linkSync(outside, join(from, "one"))
  linkSync(outside, join(from, "two"))
  await copyTree(from, to, { signal })
  writeFileSync(join(to, "one"), "changed")
  expect(readFileSync(outside, "utf8")).toBe("theirs")
  expect(readFileSync(join(to, "two"), "utf8")).toBe("theirs")
  expect(statSync(join(to, "two")).nlink).toBe(1)
})

test("symbolic links are copied as they are and never followed", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  mkdirSync(join(folder.path, "private"))
  writeFileSync(join(folder.path, "private/key"), "key")
  symlinkSync("../private", join(from, "out"))
  symlinkSync("/etc/shadow", join(from, "shadow"))
  symlinkSync("nowhere", join(from, "dangling"))
  const result = await copyTree(from, to, { signal })
  expect(result.files).toBe(0)
  expect(["out", "shadow", "dangling"].map((name) => readlinkSync(join(to, name)))).toEqual([
    "../private",
    "/etc/shadow",
    "nowhere",
  ])
})

test("sockets and pipes are skipped and named", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  mkdirSync(join(from, "run"))
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(join(from, "run/sock"), resolve))
  try {
    expect((await run(["mkfifo", join(from, "pipe")])).code).toBe(0)
    const result = await copyTree(from, to, { signal })
    expect(result.skipped.sort()).toEqual(["pipe", "run/sock"])
    expect(readdirSync(to)).toEqual(["run"])
  } finally {
    server.close()
  }
})

test("set-id bits are dropped", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  writeFileSync(join(from, "tool"), "")
  chmodSync(join(from, "tool"), 0o6755)
  mkdirSync(join(from, "shared"))
  chmodSync(join(from, "shared"), 0o2775)
  expect(statSync(join(from, "tool")).mode & 0o6000).not.toBe(0)
  await copyTree(from, to, { signal })
  expect(statSync(join(to, "tool")).mode & 0o7777).toBe(0o755)
  expect(statSync(join(to, "shared")).mode & 0o7777).toBe(0o775)
})

test("the copy belongs to the user that is asked for, links included", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  mkdirSync(join(from, "a"))
  writeFileSync(join(from, "a/file"), "")
  symlinkSync("file", join(from, "a/link"))
  const uid = isRoot ? 12_345 : process.getuid!()
  const gid = isRoot ? 12_346 : process.getgid!()
  await copyTree(from, to, { signal, uid, gid })
  for (const name of ["", "a", "a/file", "a/link"]) {
    const about = lstatSync(join(to, name))
    expect([about.uid, about.gid]).toEqual([uid, gid])
  }
})

test("names and link texts that are not UTF-8 survive", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  const raw = Buffer.concat([Buffer.from(`${from}/bad-`), Buffer.from([0xff, 0xfe])])
  writeFileSync(raw, "content")
  symlinkSync(Buffer.from([0x74, 0xff]), join(from, "link"))
  mkdirSync(Buffer.concat([Buffer.from(`${from}/dir-`), Buffer.from([0xe9])]))
  await copyTree(from, to, { signal })
  const names = (path: string) => readdirSync(path, { encoding: "latin1" as "utf8" }).sort()
  expect(names(to)).toEqual(names(from))
  expect(readFileSync(Buffer.concat([Buffer.from(`${to}/bad-`), Buffer.from([0xff, 0xfe])]), "utf8")).toBe(
    "content",
  )
  expect(readlinkSync(join(to, "link"), { encoding: "buffer" })).toEqual(Buffer.from([0x74, 0xff]))
  await removeTree(to)
  expect(lstatSync(to, { throwIfNoEntry: false })).toBeUndefined()
  await removeTree(from)
})

test("a sparse file stays about as small as it was", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  const size = 64 * 1024 * 1024
  writeFileSync(join(from, "disk.img"), "start")
  truncateSync(join(from, "disk.img"), size)
  await copyTree(from, to, { signal })
  const copy = statSync(join(to, "disk.img"))
  expect(copy.size).toBe(size)
  expect(copy.blocks * 512).toBeLessThan(1024 * 1024)
  const original = readFileSync(join(from, "disk.img"))
  expect(readFileSync(join(to, "disk.img")).equals(original)).toBe(true)
})

test("a copy into a folder inside of its source does not copy itself", async () => {
  using folder = temporaryFolder()
  const { from } = tree(folder.path)
  writeFileSync(join(from, "file"), "")
  mkdirSync(join(from, "state"))
  const result = await copyTree(from, join(from, "state/workspace"), { signal })
  expect(result.files).toBe(1)
  expect(readdirSync(join(from, "state/workspace")).sort()).toEqual(["file", "state"])
  expect(readdirSync(join(from, "state/workspace/state"))).toEqual([])
})

test("a folder that is replaced by a link while it is copied leads nowhere else", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  mkdirSync(join(folder.path, "private"))
  writeFileSync(join(folder.path, "private/key"), "key")
  mkdirSync(join(from, "a"))
  // Enough before it in the folder that the copy rests in between, which is when the swap happens.
  mkdirSync(join(from, "a/inner"))
  for (let index = 0; index < 3000; index++) writeFileSync(join(from, `a/file-${index}`), "")
  let swapped = false
  const progress = () => {
    if (swapped || !existsSync(join(to, "a"))) return
    swapped = true
    renameSync(join(from, "a"), join(folder.path, "moved"))
    symlinkSync("../private", join(from, "a"))
  }
  const result = await copyTree(from, to, { signal, progress })
  expect(swapped).toBe(true)
  // The folder that was opened is the one that was copied.
  expect(result.files).toBe(3000)
  expect(readdirSync(join(to, "a"))).not.toContain("key")
})

test("what is called off ends in the middle with the status of an interruption", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  writeFileSync(join(from, "large"), Buffer.alloc(64 * 1024 * 1024, 1))
  const abort = new AbortController()
  const fault = await faultOf(copyTree(from, to, { signal: abort.signal, progress: () => abort.abort() }))
  expect(fault.exitCode).toBe(130)
  expect((await faultOf(copyTree(from, to, { signal: abort.signal }))).exitCode).toBe(130)
})

test("a missing folder is said to be missing", async () => {
  using folder = temporaryFolder()
  const fault = await faultOf(copyTree(join(folder.path, "none"), join(folder.path, "to"), { signal }))
  expect(fault.what).toContain(join(folder.path, "none"))
  expect(fault.why).toBe("there is no such folder")
})

test("what an ordinary user may not read is named", async () => {
  using folder = temporaryFolder()
  const { from, to } = tree(folder.path)
  mkdirSync(join(from, "a"))
  writeFileSync(join(from, "a/locked"), "", { mode: 0 })
  // Root reads everything, so there the copy runs as somebody else.
  const script = `
    import { copyTree } from ${JSON.stringify(join(import.meta.dir, "../../src/backend/bubblewrap/tree-copy.ts"))}
    process.setgid?.(65534); process.setuid?.(65534)
    await copyTree(process.argv[1], process.argv[2], { signal: new AbortController().signal })
      .catch((error) => console.log(error.what + "|" + error.why))`
  const plain = script.replace("process.setgid?.(65534); process.setuid?.(65534)", "")
  chmodSync(folder.path, 0o777)
  const { stdout } = await run([process.execPath, "-e", isRoot ? script : plain, "--", from, to])
  expect(stdout.trim()).toBe(`Could not copy ${join(from, "a/locked")}|you may not read it`)
})

test("the size of a folder is that of its files, links not followed", async () => {
  using folder = temporaryFolder()
  const { from } = tree(folder.path)
  mkdirSync(join(from, "a"))
  writeFileSync(join(from, "a/one"), Buffer.alloc(1000))
  writeFileSync(join(from, "two"), Buffer.alloc(234))
  symlinkSync("/usr", join(from, "link"))
  expect(await treeSize(from, signal)).toEqual({ files: 2, bytes: 1234, complete: true })
})

test("an estimate that takes too long says that it is not complete", async () => {
  using folder = temporaryFolder()
  for (let index = 0; index < 20_000; index++) writeFileSync(join(folder.path, String(index)), "")
  const size = await treeSize(folder.path, signal, 0)
  expect(size.complete).toBe(false)
  expect(size.files).toBeLessThan(20_000)
})

test("a tree is removed although its folders forbid it", async () => {
  using folder = temporaryFolder()
  const top = join(folder.path, "top")
  mkdirSync(join(top, "a/b/c"), { recursive: true })
  writeFileSync(join(top, "a/b/c/file"), "")
  chmodSync(join(top, "a/b/c"), 0)
  chmodSync(join(top, "a/b"), 0o100)
  chmodSync(join(top, "a"), 0o500)
  chmodSync(top, 0o500)
  await removeTree(top)
  expect(readdirSync(folder.path)).toEqual([])
  await removeTree(top)
})

test("a tree that is deeper than any path may be is removed", async () => {
  using folder = temporaryFolder()
  const top = join(folder.path, "top")
  // 2,000 levels of names with 8 characters: four times what a path may have.
  const nest = `import os
os.mkdir("top"); os.chdir("top")
for level in range(2000):
    os.mkdir("nested-x"); open("file", "w").close(); os.chdir("nested-x")`
  expect((await run(["python3", "-c", nest], { cwd: realpathSync(folder.path) })).code).toBe(0)
  await removeTree(top)
  expect(readdirSync(folder.path)).toEqual([])
})

test("removal takes links away and leaves alone what they lead to", async () => {
  using folder = temporaryFolder()
  mkdirSync(join(folder.path, "kept"))
  writeFileSync(join(folder.path, "kept/file"), "", { mode: 0o640 })
  mkdirSync(join(folder.path, "top"))
  symlinkSync("../kept", join(folder.path, "top/link"))
  symlinkSync("kept", join(folder.path, "itself"))
  await removeTree(join(folder.path, "top"))
  await removeTree(join(folder.path, "itself"))
  expect(readdirSync(folder.path)).toEqual(["kept"])
  expect(statSync(join(folder.path, "kept/file")).mode & 0o777).toBe(0o640)
})
