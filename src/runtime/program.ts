/** How a sidecar is run beside us: from a compiled binary by the binary itself, from source as a bundle by our Bun. */
import { join } from "node:path"
import type { SidecarName } from "./bundle.ts"
import { embeddedSidecar } from "./embedded.ts"

export interface RuntimeProgram {
  /** Absolute path of the executable */
  file: string
  /** Arguments before the path of the bundle */
  args: readonly string[]
  /** Variables that the executable needs, to be kept from whatever the bundle starts in turn */
  env: Readonly<Record<string, string>>
}

/**
 * The program that runs the bundles of `extractSidecar`. The same from source and compiled, also when one of these
 * bundles asks: BUN_BE_BUN turns a binary that Bun compiled into the Bun inside, and means nothing to a plain Bun. It
 * must not reach an agent, which may be such a binary itself.
 */
export function runtimeProgram(): RuntimeProgram {
  return {
    file: process.execPath,
    // The flags that a binary is compiled with do not hold once it is told to be Bun, and Bun reads bunfig.toml, whose
    // `preload` is code, and .env of the folder that it starts in, and fetches packages that are missing.
    args: ["--config=/dev/null", "--no-env-file", "--no-install"],
    env: { BUN_BE_BUN: "1" },
  }
}

export interface SidecarProgram {
  /** Absolute path of the executable */
  file: string
  /** Folder that has to be there too, absolute; absent when the executable has all of it */
  folder?: string
  /** Arguments, given where that folder is seen */
  args(folder: string): string[]
  /** Variables that it needs, to be kept from whatever it starts in turn */
  env: Readonly<Record<string, string>>
}

/** The program that is that sidecar. Throws a BottleError when it cannot be laid out. */
export async function sidecarProgram(name: SidecarName): Promise<SidecarProgram> {
  const embedded = embeddedSidecar(name)
  if (embedded !== undefined) return { file: process.execPath, args: () => embedded, env: {} }
  const { extractSidecar } = await import("./extract.ts")
  const { file, args, env } = runtimeProgram()
  return {
    file,
    folder: await extractSidecar(name),
    args: (folder) => [...args, join(folder, `${name}.js`)],
    env,
  }
}
