/**
 * Builds the host program as one file for this machine: dist/bottle, or the path given as the only argument. What it carries (bundles, Dockerfiles) goes in
 * through a generated entry, which provides it and then runs src/main.ts as it is run from source.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { assetsOf } from "../src/runtime/assets.ts"
import { run } from "../src/runtime/spawn.ts"

const project = join(import.meta.dirname, "..")
const outfile = resolve(process.argv[2] ?? join(project, "dist", "bottle"))

await mkdir(join(project, "dist"), { recursive: true })
// Beside the sources, so that the generated entry finds them and the packages they use.
const work = await mkdtemp(join(project, "dist", "build-"))
try {
  await writeFile(join(work, "assets.json"), JSON.stringify(await assetsOf(project)))
  await writeFile(
    join(work, "bottle.ts"),
    `import { provideAssets } from "../../src/runtime/embedded.ts"
provideAssets(async () => (await import("./assets.json")).default)
await import("../../src/main.ts")
`,
  )
  const built = await run(
    [
      process.execPath,
      "build",
      join(work, "bottle.ts"),
      "--compile",
      "--minify",
      "--splitting",
      "--bytecode",
      "--format=esm",
      // Ink loads its development tools only where they are asked for.
      "--external=react-devtools-core",
      // Without these two a bunfig.toml or .env in the current folder configures the binary, code included.
      "--no-compile-autoload-bunfig",
      "--no-compile-autoload-dotenv",
      `--outfile=${outfile}`,
    ],
    { cwd: project },
  )
  process.stderr.write(built.stdout + built.stderr)
  process.exitCode = built.code
} finally {
  await rm(work, { recursive: true, force: true })
}
