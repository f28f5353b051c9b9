/**
 * The runtimes that the binaries of a release consist of. `bun build --target` alone would fetch each from the npm
 * registry by its version and believe what comes; the lock file binds them by SHA-512.
 */
import { createHash } from "node:crypto"
import { access, copyFile, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { BottleError } from "../../src/runtime/error.ts"
import { lastLines, run } from "../../src/runtime/spawn.ts"
import { runtimePackage, TARGETS, type Target } from "./targets.ts"

const LOCKED = join(import.meta.dirname, "runtimes")
const FILES = ["package.json", "bun.lock"]

/**
 * Installs the locked runtimes below the project's dist/ unless they are there, and hands back where each one's
 * executable is. Throws a BottleError when they cannot be had, or are not of the version that bundles.
 */
export async function releaseRuntimes(project: string): Promise<(target: Target) => string> {
  await sameVersion()
  const hash = createHash("sha256")
  for (const file of FILES) hash.update(await readFile(join(LOCKED, file)))
  const kept = join(project, "dist", "runtimes")
  const folder = join(kept, hash.digest("hex").slice(0, 16))
  const executable = (target: Target) => join(folder, "node_modules", runtimePackage(target), "bin", "bun")
  const there = await Promise.all(
    TARGETS.map((target) =>
      access(executable(target)).then(
        () => true,
        () => false,
      ),
    ),
  )
  if (there.includes(false)) await install(kept, folder)
  return executable
}

async function install(kept: string, folder: string): Promise<void> {
  console.error(`build: installing the ${TARGETS.length} locked runtimes from the npm registry into ${kept}`)
  await mkdir(kept, { recursive: true })
  const part = await mkdtemp(join(kept, "part-"))
  try {
    for (const file of FILES) await copyFile(join(LOCKED, file), join(part, file))
    // The packages name the system that they are for, and all are wanted, whatever this one is.
    const argv = [process.execPath, "install", "--frozen-lockfile", "--ignore-scripts", "--cpu=*", "--os=*"]
    const { code, stdout, stderr } = await run(argv, { cwd: part })
    if (code !== 0) {
      throw new BottleError({
        what: "the runtimes of the release could not be installed",
        why: lastLines(stdout + stderr),
        next: "See that the npm registry answers. Never relock over a hash that does not match: find out why first",
      })
    }
    await rm(folder, { recursive: true, force: true })
    await rename(part, folder)
  } finally {
    await rm(part, { recursive: true, force: true })
  }
}

/** Bytecode is read by the version that wrote it and by no other, and a release is made by one version alone. */
async function sameVersion(): Promise<void> {
  const { dependencies } = JSON.parse(await readFile(join(LOCKED, "package.json"), "utf8"))
  const locked = dependencies[runtimePackage(TARGETS[0]!)]
  if (locked === process.versions.bun) return
  throw new BottleError({
    what: `a release is built by Bun ${locked}`,
    why: `this is Bun ${process.versions.bun}, and the runtimes in scripts/release/runtimes are ${locked}`,
    next: `Run it with Bun ${locked}, or move scripts/release/runtimes to ${process.versions.bun}`,
  })
}
