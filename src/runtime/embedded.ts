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

/** First argument of a compiled binary that is to be one of the sidecars, without its name. */
const SIDECAR = "sidecar:"

/** Arguments by which a compiled binary is that sidecar: with its code loaded beforehand, it starts in half the time. */
export function embeddedSidecar(name: SidecarName): string[] | undefined {
  return load === undefined ? undefined : [SIDECAR + name]
}

/** Called once by the generated entry: runs the sidecar that was asked for. False when it was none. */
export async function runSidecar(parts: Record<SidecarName, () => Promise<unknown>>): Promise<boolean> {
  const asked = process.argv[2] ?? ""
  const name = asked.startsWith(SIDECAR) ? asked.slice(SIDECAR.length) : ""
  if (!Object.hasOwn(parts, name)) return false
  // The sidecar finds its own arguments where a bundle's are.
  process.argv.splice(2, 1)
  await parts[name as SidecarName]()
  return true
}
