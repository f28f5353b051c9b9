/** How much of a `node_modules` a program in it needs: its own package, or the folder of all of them. */
import { existsSync, readFileSync } from "node:fs"
import { basename, join } from "node:path"
import { z } from "zod"

const MODULES = "node_modules"

const manifestSchema = z.object({
  dependencies: z.record(z.string(), z.unknown()).optional(),
  optionalDependencies: z.record(z.string(), z.unknown()).optional(),
})

/** What is bound for a program of a package */
export interface PackageFolder {
  /** Absolute path of the folder on the host */
  folder: string
  /** Where it is to be, relative to a folder that holds nothing else */
  place: string
}

/** undefined when the file, without symbolic links, is in no `node_modules`. */
export function packageFolderOf(real: string): PackageFolder | undefined {
  const parts = real.split("/")
  const modules = parts.indexOf(MODULES)
  if (modules < 0) return undefined
  // pnpm links packages to each other within a folder of all of them, which may be outside of node_modules.
  const store = parts.findIndex((part, index) => part === ".pnpm" && parts[index + 2] === MODULES)
  if (store >= 0 && store < modules) {
    const folder = parts.slice(0, store + 1).join("/")
    return { folder, place: basename(folder) }
  }
  const outermost = parts.slice(0, modules + 1).join("/")
  const words = parts[modules + 1]?.startsWith("@") ? 2 : 1
  const name = parts.slice(modules + 1, modules + 1 + words)
  // A file that stands in node_modules itself belongs to no package.
  if (parts.length <= modules + 1 + words) return undefined
  const folder = join(outermost, ...name)
  // `.pnpm` and `.bun` hold all packages, each a link to those it needs; `.bin` what the packages install.
  const alone = !name[0]!.startsWith(".") && !needsNeighbours(folder, outermost)
  return alone ? { folder, place: join(MODULES, ...name) } : { folder: outermost, place: MODULES }
}

/** Whether something that the package depends on stands beside it instead of inside. */
function needsNeighbours(folder: string, outermost: string): boolean {
  let manifest: z.infer<typeof manifestSchema>
  try {
    manifest = manifestSchema.parse(JSON.parse(readFileSync(join(folder, "package.json"), "utf8")))
  } catch {
    // Without a manifest it can name no other package.
    return false
  }
  const names = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
  return names.some((name) => !existsSync(join(folder, MODULES, name)) && existsSync(join(outermost, name)))
}
