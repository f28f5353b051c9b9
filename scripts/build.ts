/**
 * Builds the host program. Without arguments dist/bottle for this machine; with one, that path instead. With --release
 * the files of a release for all machines in dist/release. scripts/build is the same for a machine without Bun.
 */
import { mkdir } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { assetsOf } from "../src/runtime/assets.ts"
import { BottleError, reasonOf } from "../src/runtime/error.ts"
import { compile } from "./release/compile.ts"
import { makeRelease } from "./release/release.ts"

const USAGE = `scripts/build [FILE]                 the binary for this machine (default: dist/bottle)
scripts/build --release [--version X] [--base-url URL] [FOLDER]
                                     binaries for all machines, SHA256SUMS, Homebrew formula and licences
                                     (default: dist/release, the version and homepage of package.json)`
const project = join(import.meta.dirname, "..")

try {
  await main()
} catch (error) {
  const explained = error instanceof BottleError
  console.error(`build: ${explained ? error.what : reasonOf(error)}`)
  if (explained && error.why !== "") console.error(error.why)
  if (explained && error.next !== "") console.error(`next: ${error.next}`)
  process.exitCode = explained ? error.exitCode : 1
}

async function main(): Promise<void> {
  const { values, positionals } = args()
  if (values.help === true) {
    console.log(USAGE)
    return
  }
  // scripts/build starts us in the project's folder, and the path is the caller's.
  const folder = process.env.BOTTLE_CALLER_CWD ?? process.cwd()
  const path = positionals[0] === undefined ? undefined : resolve(folder, positionals[0])
  if (values.release === true) {
    await makeRelease({
      project,
      folder: path ?? join(project, "dist", "release"),
      ...(values.version === undefined ? {} : { version: values.version }),
      ...(values["base-url"] === undefined ? {} : { baseUrl: values["base-url"] }),
    })
    return
  }
  const outfile = path ?? join(project, "dist", "bottle")
  await mkdir(dirname(outfile), { recursive: true })
  await compile({ project, assets: await assetsOf(project), outfile })
  console.error(`build: ${basename(outfile)}`)
}

function args() {
  const options = {
    release: { type: "boolean" },
    version: { type: "string" },
    "base-url": { type: "string" },
    help: { type: "boolean", short: "h" },
  } as const
  try {
    const parsed = parseArgs({ options, allowPositionals: true })
    const { release, version, "base-url": baseUrl } = parsed.values
    if (release !== true && (version !== undefined || baseUrl !== undefined)) {
      throw new Error("--version and --base-url go with --release")
    }
    if (parsed.positionals.length > 1) throw new Error("one path at most")
    return parsed
  } catch (error) {
    throw new BottleError({ what: reasonOf(error), next: `Call it as\n${USAGE}`, exitCode: 2, cause: error })
  }
}
