/** THIRD-PARTY-NOTICES: the licences of what a binary carries, which each of them asks to be passed on. */
import { readdir, readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { BottleError } from "../../src/runtime/error.ts"

interface Manifest {
  name: string
  version: string
  license?: string
  dependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
  peerDependenciesMeta?: Record<string, { optional?: boolean }>
}

const RULE = "=".repeat(80)

/**
 * The text for the dependencies of package.json and theirs, as they are installed; what the bundler leaves out of them
 * is named all the same. Throws a BottleError for a package that comes without the text of its licence.
 */
export async function noticesText(project: string): Promise<string> {
  const packages = new Map<string, { folder: string; manifest: Manifest }>()
  const visit = async (folder: string, manifest: Manifest): Promise<void> => {
    const peers = Object.keys(manifest.peerDependencies ?? {}).filter(
      (name) => manifest.peerDependenciesMeta?.[name]?.optional !== true,
    )
    for (const name of [...Object.keys(manifest.dependencies ?? {}), ...peers]) {
      const found = await installed(folder, name)
      const key = `${name}@${found.manifest.version}`
      if (packages.has(key)) continue
      packages.set(key, found)
      await visit(found.folder, found.manifest)
    }
  }
  await visit(project, await manifestIn(project))
  const sections = [BUN.replace("VERSION", process.versions.bun)]
  for (const key of [...packages.keys()].sort()) {
    const { folder, manifest } = packages.get(key)!
    sections.push(`${key} (${manifest.license ?? "see below"})\n\n${await licenceIn(folder, key)}`)
  }
  return `${HEAD}\n${sections.map((section) => `${RULE}\n${section.trim()}\n`).join("\n")}`
}

const HEAD = `bottle is published under the MIT License, see LICENSE. Its binaries carry the following.
`

// The runtime's package has no file of its licence, and the whole of it is longer than all of ours.
const BUN = `Bun VERSION (MIT), https://bun.com/docs/project/license

The binaries consist of Bun as it is published and of the code of bottle. Bun is under the MIT License; it statically
links JavaScriptCore and WebKit (LGPL-2 in parts), BoringSSL and other libraries, which the page above names with their
licences, and where their sources are. The code of bottle runs unchanged under a Bun that was linked anew: that is how
\`scripts/bottle\` runs it.`

/** Looks for a package as a program in that folder would. */
async function installed(from: string, name: string): Promise<{ folder: string; manifest: Manifest }> {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name)
    const manifest = await manifestIn(candidate).catch(() => undefined)
    if (manifest !== undefined) return { folder: candidate, manifest }
    if (folder === dirname(folder)) break
  }
  throw new BottleError({
    what: `${name} is not installed`,
    why: `${from} needs it, and the notices have to name it`,
    next: "Run `bun install --frozen-lockfile`",
  })
}

async function manifestIn(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, "package.json"), "utf8"))
}

async function licenceIn(folder: string, key: string): Promise<string> {
  const names = (await readdir(folder))
    .filter((name) => /^(licen[cs]e|copying|notice)([.-]|$)/i.test(name))
    .sort()
  if (names.length === 0) {
    throw new BottleError({
      what: `${key} comes without the text of its licence`,
      why: `no file in ${folder} has its name`,
      next: "Find out what its licence asks for before it is passed on",
    })
  }
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")))
  return texts.map((text) => text.trim()).join("\n\n")
}
