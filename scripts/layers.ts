/**
 * The dependency rule: cli, demo, tui -> session -> backend, provider, gateway, image -> bottle, manifest -> policy; runtime
 * is below all; sidecars use policy and runtime alone; nothing goes in a circle. Run by `bun run layers` and by
 * scripts/test. It parses with oxc, because dependency-cruiser reads TypeScript through an API that TypeScript 7 does
 * not have, and then reports success over nothing.
 */
import { readdir, readFile } from "node:fs/promises"
import { dirname, join, normalize } from "node:path"
import { parseSync } from "oxc-parser"

/** From the top down: a file may import from its own layer and from those below. */
const LAYERS = [
  /^src\/(main\.ts|cli\/|demo\/|tui\/)/,
  /^src\/session\//,
  /^src\/(backend|provider|gateway|image)\//,
  /^src\/(bottle|manifest)\//,
  /^src\/policy\//,
  /^src\/runtime\//,
]
/** Modules that act: policy decides, and is the same with and without a machine under it */
const ACTING =
  /^(node:)?(fs|net|http|https|http2|tls|dns|child_process|os|process|dgram|worker_threads)(\/|$)/

export interface Import {
  /** Specifier as written */
  to: string
  /** How it is reached: erased types, at load, or later */
  kind: "type" | "static" | "dynamic"
}

/** Every import, re-export, `import()` and imported type of one file. Throws when the file does not parse. */
export function importsOf(path: string, text: string): Import[] {
  const parsed = parseSync(path, text)
  if (parsed.errors.length > 0) throw new Error(`${path}: ${parsed.errors[0]!.message}`)
  const { staticImports, staticExports, dynamicImports } = parsed.module
  const found: Import[] = []
  for (const { moduleRequest, entries } of staticImports) {
    const erased = entries.length > 0 && entries.every((entry) => entry.isType)
    found.push({ to: moduleRequest.value, kind: erased ? "type" : "static" })
  }
  for (const { moduleRequest, isType } of staticExports.flatMap((one) => one.entries)) {
    if (moduleRequest !== null) found.push({ to: moduleRequest.value, kind: isType ? "type" : "static" })
  }
  for (const { moduleRequest } of dynamicImports) {
    const written = text.slice(moduleRequest.start, moduleRequest.end)
    const literal = /^(["'])(.*)\1$/.exec(written)
    // A computed name could lead anywhere, and neither this rule nor the bundler could follow it.
    if (literal === null) throw new Error(`${path}: import(${written}) does not name a file`)
    found.push({ to: literal[2]!, kind: "dynamic" })
  }
  for (const match of text.matchAll(/\bimport\("([^"]+)"\)\s*[.[]/g))
    found.push({ to: match[1]!, kind: "type" })
  return found
}

/** What breaks the rule, one line each. Keys are paths from the project's folder. */
export function layerFaults(files: ReadonlyMap<string, string>): string[] {
  const faults: string[] = []
  const loads = new Map<string, string[]>()
  for (const [from, text] of files) {
    let imports: Import[]
    try {
      imports = importsOf(from, text)
    } catch (error) {
      faults.push(error instanceof Error ? error.message : String(error))
      continue
    }
    const loaded = new Set<string>()
    for (const { to, kind } of imports) {
      if (!to.startsWith(".")) {
        const fault = packageFault(from, to)
        if (fault !== undefined) faults.push(`${from} -> ${to}: ${fault}`)
        continue
      }
      const target = normalize(join(dirname(from), to))
      const fault = fileFault(from, target)
      if (fault !== undefined) faults.push(`${from} -> ${target}: ${fault}`)
      if (kind === "static" && files.has(target)) loaded.add(target)
    }
    loads.set(from, [...loaded])
  }
  return [...faults, ...circles(loads)]
}

function packageFault(from: string, to: string): string | undefined {
  if (/^bun(:|$)/.test(to) && !from.startsWith("src/runtime/")) return "only src/runtime touches Bun"
  if (from.startsWith("src/policy/") && ACTING.test(to)) return "policy is pure"
  return undefined
}

function fileFault(from: string, to: string): string | undefined {
  if (/^(test|scripts)\//.test(to)) return "what is shipped needs nothing of tests and scripts"
  if (from.startsWith("sidecars/")) {
    if (/^src\/(policy|runtime)\//.test(to)) return undefined
    if (to.startsWith("src/")) return "sidecars use src/policy and src/runtime alone"
    const [, daemon, file] = from.split("/")
    if (file !== undefined && to.startsWith("sidecars/") && to.split("/")[1] !== daemon) {
      return "each daemon stands apart; what they share is in src/policy and src/runtime"
    }
    return undefined
  }
  if (to.startsWith("sidecars/")) return "sidecars are programs of their own"
  const fromLayer = LAYERS.findIndex((layer) => layer.test(from))
  const toLayer = LAYERS.findIndex((layer) => layer.test(to))
  if (to.startsWith("src/") && toLayer < 0)
    return "this folder has no place in the layers of scripts/layers.ts"
  if (toLayer >= 0 && toLayer < fromLayer) return "a lower layer knows nothing of a higher one"
  if (from.startsWith("src/runtime/") && !to.startsWith("src/runtime/")) return "runtime is below all"
  if (from.startsWith("src/policy/") && to.startsWith("src/runtime/")) return "policy is pure"
  return undefined
}

/** Circles among what files load at start, each told once, from its first file in the alphabet. */
function circles(loads: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Set<string>()
  const done = new Set<string>()
  const visit = (file: string, trail: string[]) => {
    const at = trail.indexOf(file)
    if (at >= 0) {
      const circle = trail.slice(at)
      const first = circle.indexOf([...circle].sort()[0]!)
      const turned = [...circle.slice(first), ...circle.slice(0, first)]
      found.add(
        `${[...turned, turned[0]].join(" -> ")}: files that need each other are one file, or miss a third`,
      )
      return
    }
    if (done.has(file)) return
    for (const next of loads.get(file) ?? []) visit(next, [...trail, file])
    done.add(file)
  }
  for (const file of [...loads.keys()].sort()) visit(file, [])
  return [...found].sort()
}

/** Every TypeScript file of the host program and the sidecars. */
async function sources(project: string): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  for (const folder of ["src", "sidecars"]) {
    const names = await readdir(join(project, folder), { recursive: true })
    for (const name of names.filter((one) => /\.tsx?$/.test(one)).sort()) {
      const path = join(folder, name)
      files.set(path, await readFile(join(project, path), "utf8"))
    }
  }
  return files
}

if (import.meta.main) {
  const files = await sources(join(import.meta.dirname, ".."))
  const faults = layerFaults(files)
  for (const fault of faults) console.error(fault)
  console.error(`${files.size} files, ${faults.length} faults`)
  // A rule that looked at nothing has not held.
  process.exitCode = faults.length > 0 || files.size < 10 ? 1 : 0
}
