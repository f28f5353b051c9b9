/** All files of a release, in one folder: the binaries, their sums, the formula and the licences. */
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assetsOf } from "../../src/runtime/assets.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { run } from "../../src/runtime/spawn.ts"
import { TRIALS, type Trial, tryAlone } from "./alone.ts"
import { checksumsText, sha256File } from "./checksums.ts"
import { compile } from "./compile.ts"
import { formulaText } from "./formula.ts"
import { readMachO } from "./macho.ts"
import { noticesText } from "./notices.ts"
import { releaseRuntimes } from "./runtimes.ts"
import { signAdHoc } from "./sign.ts"
import { binaryName, TARGETS } from "./targets.ts"

export interface ReleaseRequest {
  /** The project's folder, absolute */
  project: string
  /** Where the files go, absolute; what is there is replaced once all are made */
  folder: string
  /** Version that the binaries name; absent is that of package.json */
  version?: string
  /** Address of the folder that will hold the files; absent is `<homepage>/releases/v<version>` */
  baseUrl?: string
}

/** Docker answers within this, in milliseconds, or is not there. */
const DOCKER_WITHIN_MS = 30_000
/** Semantic versioning 2.0.0, without build metadata: the version becomes part of an address */
const VERSION = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/

export async function makeRelease({
  project,
  folder,
  version: wanted,
  baseUrl,
}: ReleaseRequest): Promise<void> {
  const manifest = JSON.parse(await readFile(join(project, "package.json"), "utf8"))
  const version = wanted ?? manifest.version
  if (!VERSION.test(version)) {
    throw new BottleError({
      what: `"${version}" is not a version`,
      next: "Give one like 1.2.3 or 1.2.3-rc.1, without a v",
      exitCode: 2,
    })
  }
  await replaceable(folder)
  const runtimeOf = await releaseRuntimes(project)
  const assets = await assetsOf(project)
  const part = `${folder}.${process.pid}.part`
  try {
    await mkdir(part, { recursive: true })
    const sums: Record<string, string> = {}
    for (const target of TARGETS) {
      const name = binaryName(target)
      const outfile = join(part, name)
      await compile({ project, assets, version, outfile, cross: { target, runtime: runtimeOf(target) } })
      if (target.os === "darwin") await sign(outfile)
      sums[name] = await sha256File(outfile)
      console.error(`build: ${name}`)
    }
    await tryHere(project, part)
    const formula = formulaText({
      version,
      description: "Run coding agents in sandboxes whose only way out is a gateway",
      homepage: manifest.homepage,
      baseUrl: (baseUrl ?? `${manifest.homepage}/releases/v${version}`).replace(/\/+$/, ""),
      license: manifest.license,
      sums,
    })
    await writeFile(join(part, "bottle.rb"), formula)
    await writeFile(join(part, "THIRD-PARTY-NOTICES"), await noticesText(project))
    await copyFile(join(project, "LICENSE"), join(part, "LICENSE"))
    for (const name of ["THIRD-PARTY-NOTICES", "LICENSE", "bottle.rb"])
      sums[name] = await sha256File(join(part, name))
    await writeFile(join(part, "SHA256SUMS"), checksumsText(sums))
    await rm(folder, { recursive: true, force: true })
    await rename(part, folder)
  } finally {
    await rm(part, { recursive: true, force: true })
  }
}

/** The binary for this machine, where it is a Linux: alone, with all that can be tried here. */
async function tryHere(project: string, folder: string): Promise<void> {
  const here = TARGETS.find(
    ({ os, arch, libc }) => os === "linux" && arch === process.arch && libc === "glibc",
  )
  if (process.platform !== "linux" || here === undefined) return
  const docker = await run(["docker", "version"], { signal: AbortSignal.timeout(DOCKER_WITHIN_MS) }).catch(
    () => undefined,
  )
  const trials = TRIALS.filter((trial: Trial) => trial !== "start with docker" || docker?.code === 0)
  await tryAlone({ binary: join(folder, binaryName(here)), project, trials })
  const left = TRIALS.filter((trial) => !trials.includes(trial)).map((trial) => `; not tried: ${trial}`)
  console.error(`build: ${binaryName(here)} alone: ${trials.join(", ")}${left.join("")}`)
}

/** The folder is removed as a whole, and a mistyped path may name somebody's home. */
async function replaceable(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === "ENOENT") return []
    throw error
  })
  if (names.length === 0 || names.includes("SHA256SUMS")) return
  throw new BottleError({
    what: `${folder} holds something that is no release`,
    why: "a release replaces its folder",
    next: "Name a new folder, or an empty one",
    exitCode: 2,
  })
}

async function sign(path: string): Promise<void> {
  const signed = signAdHoc(await readFile(path), "bottle")
  // Read back as macOS would: a binary that it kills at once helps nobody.
  const faults = readMachO(signed).signature?.faults ?? ["no signature"]
  if (faults.length > 0) {
    throw new BottleError({
      what: `the signature of ${path} does not hold`,
      why: faults.join("\n"),
      next: "See what Bun changed in the files that it makes for macOS, then scripts/release/sign.ts",
    })
  }
  await writeFile(path, signed)
}
