/** The files of a release, made once from these sources and looked at by other means than those that made them. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { makeRelease } from "../../scripts/release/release.ts"
import { binaryName, TARGETS } from "../../scripts/release/targets.ts"
import { assetsOf } from "../../src/runtime/assets.ts"
import { extractSidecar } from "../../src/runtime/extract.ts"
import { runtimeProgram } from "../../src/runtime/program.ts"
import { run } from "../../src/runtime/spawn.ts"
import { muslRoot } from "../fixtures/musl-root.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const project = join(import.meta.dirname, "..", "..")
const VERSION = "9.8.7-test.1"
const scope = new DisposableStack()
const folder = join(scope.use(temporaryFolder()).path, "release")
const read = (name: string) => readFileSync(join(folder, name))

beforeAll(() => makeRelease({ project, folder, version: VERSION, baseUrl: "https://bottle.example/files/" }))
afterAll(() => scope.dispose())

test("a release is a binary per machine, their sums, a formula, and the licences", () => {
  expect(readdirSync(folder).sort()).toEqual(
    [...TARGETS.map(binaryName), "SHA256SUMS", "bottle.rb", "LICENSE", "THIRD-PARTY-NOTICES"].sort(),
  )
  for (const target of TARGETS) expect(statSync(join(folder, binaryName(target))).mode & 0o755).toBe(0o755)
})

const ELF_MACHINES = { x64: 62, arm64: 183 }
const INTERPRETERS: Record<string, string> = {
  "bottle-linux-x64": "/lib64/ld-linux-x86-64.so.2",
  "bottle-linux-arm64": "/lib/ld-linux-aarch64.so.1",
  "bottle-linux-x64-musl": "/lib/ld-musl-x86_64.so.1",
  "bottle-linux-arm64-musl": "/lib/ld-musl-aarch64.so.1",
}

/** The loader that an ELF file asks for: the program header of type PT_INTERP. */
function interpreterOf(elf: Buffer): string {
  const table = Number(elf.readBigUInt64LE(32))
  const size = elf.readUInt16LE(54)
  for (let i = 0; i < elf.readUInt16LE(56); i++) {
    const at = table + i * size
    if (elf.readUInt32LE(at) !== 3) continue
    const offset = Number(elf.readBigUInt64LE(at + 8))
    return elf.toString("latin1", offset, elf.indexOf(0, offset))
  }
  return ""
}

for (const target of TARGETS.filter(({ os }) => os === "linux")) {
  test(`${binaryName(target)} is an ELF file for its machine and its C library`, () => {
    const elf = read(binaryName(target))
    expect(elf.subarray(0, 6)).toEqual(Buffer.from("\x7fELF\x02\x01", "latin1"))
    expect(elf.readUInt16LE(18)).toBe(ELF_MACHINES[target.arch])
    expect(interpreterOf(elf)).toBe(INTERPRETERS[binaryName(target)]!)
  })
}

test("every binary carries the bundles and the Dockerfiles of these sources", async () => {
  const { sidecars, images } = await assetsOf(project)
  // The name of a chunk is the hash of what is in it; Dockerfiles are told by the digests that they pin.
  const chunks = Object.values(sidecars).flatMap((files) => Object.keys(files))
  const digests = Object.values(images).flatMap((text) => text.match(/sha256:[0-9a-f]{64}/g) ?? [])
  expect(chunks.length).toBeGreaterThan(2)
  expect(digests.length).toBeGreaterThan(1)
  for (const target of TARGETS) {
    const binary = read(binaryName(target))
    const missing = [...chunks, ...digests].filter((mark) => !binary.includes(mark))
    expect({ binary: binaryName(target), missing }).toEqual({ binary: binaryName(target), missing: [] })
  }
})

test("sha256sum finds every file as SHA256SUMS has it, and a changed one out", async () => {
  const whole = await run(["sha256sum", "--check", "--strict", "SHA256SUMS"], { cwd: folder })
  expect(whole).toMatchObject({ code: 0, stderr: "" })
  expect(whole.stdout.trim().split("\n").length).toBe(TARGETS.length + 3)
  const other = read("SHA256SUMS")
    .toString()
    .replace(/^[0-9a-f]{4}/m, "0000")
  const changed = await run(["sha256sum", "--check", "--strict", "-"], { cwd: folder, input: other })
  expect(changed.code).toBe(1)
})

test("Ruby reads the formula, with the sums of the files that lie beside it", async () => {
  const reader = join(project, "test", "fixtures", "formula-reader.rb")
  for (const [os, cpu, binary] of [
    ["macos", "arm", "bottle-darwin-arm64"],
    ["macos", "intel", "bottle-darwin-x64"],
    ["linux", "arm", "bottle-linux-arm64"],
    ["linux", "intel", "bottle-linux-x64"],
  ] as const) {
    const { code, stdout, stderr } = await run(["ruby", "-w", reader, os, cpu], { input: read("bottle.rb") })
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(JSON.parse(stdout)).toMatchObject({
      version: VERSION,
      url: `https://bottle.example/files/${binary}`,
      sha256: createHash("sha256").update(read(binary)).digest("hex"),
    })
  }
})

test("the same sources make the same bytes", async () => {
  using again = temporaryFolder()
  const second = join(again.path, "release")
  await makeRelease({ project, folder: second, version: VERSION, baseUrl: "https://bottle.example/files/" })
  expect(readFileSync(join(second, "SHA256SUMS"), "utf8")).toBe(read("SHA256SUMS").toString())
})

test("the notices name every package that the program is made of, with its licence", () => {
  const notices = read("THIRD-PARTY-NOTICES").toString()
  const { dependencies } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"))
  expect(Object.keys(dependencies).length).toBeGreaterThan(0)
  for (const [name, version] of Object.entries(dependencies))
    expect(notices).toContain(`\n${name}@${version} (`)
  expect(notices).toContain("Permission is hereby granted, free of charge")
  expect(notices).toContain(`\nBun ${process.versions.bun} (MIT)`)
})

/** This machine's binaries: one runs here as it is, the other needs the C library that it is for. */
const here = (libc: "glibc" | "musl") =>
  join(folder, binaryName({ os: "linux", arch: process.arch as "x64" | "arm64", libc }))

test("the binary runs on this machine without anything else, and tells its version", async () => {
  using home = temporaryFolder()
  const env = { PATH: home.path, HOME: home.path }
  expect(await run([here("glibc"), "--version"], { env })).toEqual({
    code: 0,
    stdout: `${VERSION}\n`,
    stderr: "",
  })
  const list = await run([here("glibc"), "list", "available", "--format", "json"], { env })
  expect(list.code).toBe(0)
})

test("the binary for musl runs where musl and its libstdc++ are all there is", async () => {
  using root = await muslRoot()
  const inRoot = (env: string[], argv: string[]) =>
    run([...root.enter, "--ro-bind", here("musl"), "/bottle", ...env, "/bottle", ...argv], { env: {} })
  expect(await inRoot([], ["--version"])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: "" })
  // The runtime as a whole, beyond what the version needs of it.
  const script = "console.log(process.versions.bun)"
  expect(await inRoot(["--setenv", "BUN_BE_BUN", "1"], ["-e", script])).toEqual({
    code: 0,
    stdout: `${process.versions.bun}\n`,
    stderr: "",
  })
})

test("told to be Bun, the binary runs a bundle and takes nothing from the folder that it starts in", async () => {
  using hostile = temporaryFolder()
  const put = (name: string, text: string) => Bun.write(join(hostile.path, name), text)
  await put("bunfig.toml", 'preload = ["./preload.js"]\n')
  await put("preload.js", 'console.log("preloaded")\n')
  await put(".env", "FROM_FOLDER=1\n")
  await put("told.js", "console.log(process.env.FROM_FOLDER, process.argv.slice(2).join())\n")
  const { args, env } = runtimeProgram()
  const script = join(hostile.path, "told.js")
  const ran = await run([here("glibc"), ...args, script, "--version"], { cwd: hostile.path, env })
  expect(ran).toEqual({ code: 0, stdout: "undefined --version\n", stderr: "" })
  // The control: what a binary is compiled with does not hold in this mode, and both are read.
  const control = await run([here("glibc"), script], { cwd: hostile.path, env })
  expect(control.stdout).toBe("preloaded\n1 \n")

  const entry = join(await extractSidecar("gateway"), "gateway.js")
  const gateway = await run([here("glibc"), ...args, entry, "none"], { cwd: hostile.path, env })
  expect(gateway).toMatchObject({
    code: 2,
    stdout: "",
    stderr: expect.stringContaining('unknown part "none"'),
  })
})

test("a version that would not fit an address is refused before anything is built", async () => {
  using elsewhere = temporaryFolder()
  const path = join(elsewhere.path, "release")
  const argv = [
    process.execPath,
    "--no-env-file",
    "scripts/build.ts",
    "--release",
    "--version",
    "v1/..",
    path,
  ]
  const { code, stderr } = await run(argv, { cwd: project })
  expect(code).toBe(2)
  expect(stderr).toContain('"v1/.." is not a version')
  expect(readdirSync(elsewhere.path)).toEqual([])
})

test("a folder that holds something else is not replaced by a release", async () => {
  using elsewhere = temporaryFolder()
  await Bun.write(join(elsewhere.path, "letter"), "dear")
  const refused = await makeRelease({ project, folder: elsewhere.path }).catch((error) => error)
  expect(refused).toMatchObject({ name: "BottleError", exitCode: 2 })
  expect(readdirSync(elsewhere.path)).toEqual(["letter"])
})
