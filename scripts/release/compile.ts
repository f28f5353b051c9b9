/**
 * The host program as one file. What it carries beside its code goes in through a generated entry, which provides it
 * and then runs src/main.ts as it is run from source. Entry and assets exist in memory alone, under names that are the
 * same everywhere: names end up in the binary, and the same source has to make the same bytes.
 */
import { join } from "node:path"
import type { Assets } from "../../src/runtime/embedded.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { bunTarget, type Target } from "./targets.ts"

const ASSETS = "/bottle-assets.json"

export interface Compilation {
  /** The project's folder, absolute */
  project: string
  assets: Assets
  /** Replaces the version of package.json */
  version?: string
  /** Path of the binary, absolute; its last part is in the bytes */
  outfile: string
  /** Another machine than this one, and the runtime for it */
  cross?: { target: Target; runtime: string }
}

/** Throws a BottleError with the compiler's own words. */
export async function compile({ project, assets, version, outfile, cross }: Compilation): Promise<void> {
  const entry = join(project, "src", "bottle.ts")
  const manifest = join(project, "package.json")
  const files: Record<string, string> = {
    [entry]: `import { provideAssets, runSidecar } from "./runtime/embedded.ts"
provideAssets(async () => (await import(${JSON.stringify(ASSETS)})).default)
const isSidecar = await runSidecar({
  gateway: () => import("../sidecars/gateway.ts"),
  inner: () => import("../sidecars/inner.ts"),
})
if (!isSidecar) await import("./main.ts")
`,
    [ASSETS]: JSON.stringify(assets),
  }
  if (version !== undefined)
    files[manifest] = JSON.stringify({ ...(await Bun.file(manifest).json()), version })
  try {
    await Bun.build({
      entrypoints: [entry],
      root: project,
      files,
      target: "bun",
      format: "esm",
      minify: true,
      splitting: true,
      bytecode: true,
      // Ink loads its development tools only where they are asked for.
      external: ["react-devtools-core"],
      compile: {
        outfile,
        // Without these two a bunfig.toml or .env in the current folder configures the binary, code included.
        autoloadBunfig: false,
        autoloadDotenv: false,
        ...(cross === undefined ? {} : { target: bunTarget(cross.target), executablePath: cross.runtime }),
      },
    })
  } catch (error) {
    const causes = error instanceof AggregateError ? error.errors : [error]
    throw new BottleError({
      what: `cannot build ${outfile}`,
      why: causes.map(String).join("\n"),
      next: "Mend the source, or check out a version that builds",
      cause: error,
    })
  }
}
