/**
 * What a compiled binary carries. Apart from `assets.ts`, because the binary's entry loads this file at every start,
 * and `bottle --version` pays for whatever it imports.
 */
import type { BundleFiles, SidecarName } from "./bundle.ts"

export interface Assets {
  sidecars: Record<SidecarName, BundleFiles>
  /** Text of each file by its path below `images/` */
  images: Record<string, string>
}

let load: (() => Promise<Assets>) | undefined

/** Called once by the generated entry of a compiled binary, before anything else. */
export function provideAssets(loader: () => Promise<Assets>): void {
  load = loader
}

/** Undefined when the program runs from source. */
export async function embeddedAssets(): Promise<Assets | undefined> {
  return load?.()
}
