/** How a bundle of ours is run: by the Bun that runs us, which a compiled binary carries inside. */

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
