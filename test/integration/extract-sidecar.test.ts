import { expect, test } from "bun:test"
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { sidecarBundle } from "../../src/runtime/assets.ts"
import { extractSidecar } from "../../src/runtime/extract.ts"
import { runtimeProgram } from "../../src/runtime/program.ts"
import { run } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const project = join(import.meta.dirname, "..", "..")
const root = process.getuid?.() === 0

/** A cache folder of its own for one test. */
function ownCache() {
  const folder = temporaryFolder()
  const before = process.env.XDG_CACHE_HOME
  process.env.XDG_CACHE_HOME = folder.path
  return {
    path: folder.path,
    [Symbol.dispose]() {
      if (before === undefined) delete process.env.XDG_CACHE_HOME
      else process.env.XDG_CACHE_HOME = before
      folder[Symbol.dispose]()
    },
  }
}

async function expectWhole(folder: string, name: "gateway" | "inner"): Promise<void> {
  const found = Object.fromEntries(
    readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), "utf8")]),
  )
  expect(found).toEqual(await sidecarBundle(name))
  expect(lstatSync(folder).mode & 0o7777).toBe(0o755)
  for (const file of readdirSync(folder)) expect(lstatSync(join(folder, file)).mode & 0o7777).toBe(0o444)
}

test("a sidecar's files are laid out in the cache folder, for us alone by path, and none can be written", async () => {
  using cache = ownCache()
  const folder = await extractSidecar("gateway")
  expect(dirname(folder)).toBe(join(cache.path, "bottle", "sidecars"))
  expect(basename(folder)).toMatch(/^gateway-[0-9a-f]{64}$/)
  await expectWhole(folder, "gateway")
  expect(statSync(dirname(folder)).mode & 0o7777).toBe(0o700)
})

test("what is whole is used again as it is", async () => {
  using _ = ownCache()
  const folder = await extractSidecar("inner")
  const made = statSync(folder).ino
  expect(await extractSidecar("inner")).toBe(folder)
  expect(statSync(folder).ino).toBe(made)
})

type Spoiling = (folder: string, file: string, elsewhere: string) => void
const spoilings: Record<string, Spoiling> = {
  "a changed byte": (_, file) => {
    const text = readFileSync(file)
    text[text.length - 1]! ^= 1
    chmodSync(file, 0o600)
    writeFileSync(file, text)
    chmodSync(file, 0o444)
  },
  "a file cut short": (_, file) => {
    chmodSync(file, 0o600)
    writeFileSync(file, "")
    chmodSync(file, 0o444)
  },
  "a missing file": (_, file) => rmSync(file),
  "a file too many": (folder) => writeFileSync(join(folder, "bunfig.toml"), ""),
  "one file in another's place": (_, file) => renameSync(file, join(dirname(file), "other.js")),
  "a file that others may write": (_, file) => chmodSync(file, 0o666),
  "a folder that the group may write": (folder) => chmodSync(folder, 0o775),
  "a file with a second name": (_, file, elsewhere) => linkSync(file, join(elsewhere, "second")),
  "a link to the same text": (_, file, elsewhere) => {
    const target = join(elsewhere, "target")
    renameSync(file, target)
    symlinkSync(target, file)
  },
  "a pipe for a file": (_, file) => {
    rmSync(file)
    const made = Bun.spawnSync(["mkfifo", "-m", "0444", file])
    expect(made.exitCode).toBe(0)
  },
  "a link for the folder": (folder, _, elsewhere) => {
    const target = join(elsewhere, "folder")
    renameSync(folder, target)
    symlinkSync(target, folder)
  },
  "a file for the folder": (folder) => {
    rmSync(folder, { recursive: true })
    writeFileSync(folder, "")
  },
}
// Only root can give a file away.
if (root) {
  spoilings["somebody else's file"] = (_, file) => chownSync(file, 65534, 65534)
  spoilings["somebody else's folder"] = (folder) => chownSync(folder, 65534, 65534)
}

for (const [name, spoil] of Object.entries(spoilings)) {
  test(`${name} is found at the next use, and all is made anew`, async () => {
    using _ = ownCache()
    using elsewhere = temporaryFolder()
    const folder = await extractSidecar("gateway")
    spoil(folder, join(folder, "gateway.js"), elsewhere.path)
    expect(await extractSidecar("gateway")).toBe(folder)
    await expectWhole(folder, "gateway")
    expect(lstatSync(join(folder, "gateway.js")).nlink).toBe(1)
    expect(lstatSync(folder).uid).toBe(process.getuid!())
    const left = readdirSync(dirname(folder)).filter((entry) => /part|lock/.test(entry))
    expect(left).toEqual([])
  })
}

test("a cache folder that belongs to somebody else is refused, with what to do", async () => {
  using cache = ownCache()
  // Root gives one away; others point at one that is root's.
  if (root) {
    mkdirSync(join(cache.path, "bottle"))
    chownSync(join(cache.path, "bottle"), 65534, 65534)
  } else symlinkSync("/", join(cache.path, "bottle"))
  const refused = await extractSidecar("inner").catch((error) => error)
  expect(refused).toMatchObject({ name: "BottleError", what: expect.stringContaining("another user") })
  expect(refused.next).toContain("XDG_CACHE_HOME")
})

test("a cache folder of ours that others may write is closed to them before it is used", async () => {
  using cache = ownCache()
  for (const folder of ["bottle", "bottle/sidecars"]) {
    mkdirSync(join(cache.path, folder))
    chmodSync(join(cache.path, folder), 0o777)
  }
  await extractSidecar("inner")
  for (const folder of ["bottle", "bottle/sidecars"]) {
    expect(statSync(join(cache.path, folder)).mode & 0o022).toBe(0)
  }
})

test("many processes at once lay out one folder, and each can run it as soon as it has its path", async () => {
  using cache = ownCache()
  const program = `
    import { readFileSync } from "node:fs"
    import { extractSidecar } from ${JSON.stringify(join(project, "src/runtime/extract.ts"))}
    const folder = await extractSidecar("gateway")
    readFileSync(folder + "/gateway.js")
    console.log(folder)`
  const script = join(cache.path, "extract.ts")
  writeFileSync(script, program)
  const runs = await Promise.all(
    Array.from({ length: 8 }, () => run([process.execPath, "--no-env-file", script], { cwd: project })),
  )
  for (const { code, stderr } of runs) expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  expect(new Set(runs.map(({ stdout }) => stdout)).size).toBe(1)
  await expectWhole(runs[0]!.stdout.trim(), "gateway")
  expect(readdirSync(join(cache.path, "bottle", "sidecars")).filter((name) => name.includes("part"))).toEqual(
    [],
  )
})

test("folders of earlier versions are forgotten once they are many and old, another sidecar's never", async () => {
  using cache = ownCache()
  const sidecars = join(cache.path, "bottle", "sidecars")
  mkdirSync(sidecars, { recursive: true })
  const day = 24 * 60 * 60
  const put = (name: string, daysAgo: number) => {
    mkdirSync(join(sidecars, name))
    writeFileSync(join(sidecars, name, "inner.js"), "")
    const at = Date.now() / 1000 - daysAgo * day
    utimesSync(join(sidecars, name), at, at)
    return name
  }
  const hash = (digit: string) => digit.repeat(64)
  const recent = ["a", "b", "c", "d", "e"].map((digit) => put(`inner-${hash(digit)}`, 2))
  const old = ["1", "2"].map((digit) => put(`inner-${hash(digit)}`, 90))
  const other = put(`gateway-${hash("3")}`, 90)
  const crashed = put(`inner-${hash("4")}.0123456789ab.part`, 0)
  const folder = await extractSidecar("inner")
  for (const name of [...recent, other]) expect(existsSync(join(sidecars, name))).toBe(true)
  for (const name of [...old, crashed]) expect(existsSync(join(sidecars, name))).toBe(false)
  await expectWhole(folder, "inner")
})

// Only root can become another user.
if (root) {
  test("a role under another uid reads the files by the open folder that it is handed, and not by path", async () => {
    using cache = ownCache()
    chmodSync(cache.path, 0o755)
    const folder = await extractSidecar("gateway")
    const as = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    const handed = 'exec 3<"$0"; exec "$@" cat /proc/self/fd/3/gateway.js'
    const byFolder = await run(["bash", "-c", handed, folder, ...as])
    expect(byFolder.stdout).toBe((await sidecarBundle("gateway"))["gateway.js"]!)
    const byPath = await run([...as, "cat", join(folder, "gateway.js")])
    expect(byPath).toMatchObject({ code: 1, stderr: expect.stringContaining("Permission denied") })
  })
}

test("a cache that cannot be written is told with what to do", async () => {
  using cache = ownCache()
  writeFileSync(join(cache.path, "bottle"), "a file where the folder belongs")
  const failed = await extractSidecar("inner").catch((error) => error)
  expect(failed).toMatchObject({
    name: "BottleError",
    what: expect.stringContaining("cannot lay out the inner"),
  })
  expect(failed.next).toContain("XDG_CACHE_HOME")
})

test("a laid out bundle runs under the runtime, whatever lies in the folder that it starts in", async () => {
  using _ = ownCache()
  using hostile = temporaryFolder()
  writeFileSync(join(hostile.path, "bunfig.toml"), 'preload = ["./preload.js"]\n')
  writeFileSync(join(hostile.path, "preload.js"), 'console.log("preloaded")\n')
  const entry = join(await extractSidecar("gateway"), "gateway.js")
  const program = runtimeProgram()
  const env = { ...program.env, PATH: process.env.PATH }
  const told = /^gateway: unknown part "none"/m
  const ran = await run([program.file, ...program.args, entry, "none"], { cwd: hostile.path, env })
  expect(ran).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(told) })
  const control = await run([program.file, entry, "none"], { cwd: hostile.path, env })
  expect(control).toMatchObject({ code: 2, stdout: "preloaded\n", stderr: expect.stringMatching(told) })
})
