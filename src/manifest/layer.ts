/** One bottle's file, read and checked: what it says itself, before anything it extends. */
import { dirname } from "node:path"
import { absolutePath } from "../runtime/home.ts"
import { checked } from "./check.ts"
import type { Fault } from "./fault.ts"
import { type Frontmatter, parseFrontmatter } from "./frontmatter.ts"
import { modernise } from "./legacy.ts"
import { hostForm } from "./route-fields.ts"
import { type BottleFile, bottleFile, type RouteEntry } from "./schema.ts"
import type { BottleRoute, EnvValue, GitRepo, TokenSource } from "./types.ts"

export interface Layer {
  name: string
  /** Absolute path of its file */
  file: string
  says: BottleFile
  routes: BottleRoute[]
  repos: GitRepo[]
  /** Line of a key in the file, from 1 */
  lineOf: Frontmatter["lineOf"]
}

/** Reads the text of a bottle. Throws ManifestFaults. */
export function readLayer(name: string, file: string, text: string, userHome: string): Layer {
  const { data, lineOf } = parseFrontmatter(text)
  const modern = modernise(data)
  const legacy = modern.faults.map((fault) => ({ ...fault, line: lineOf(fault.path) }))
  const says = checked(bottleFile, modern.data, lineOf, [...legacy, ...doubleHosts(modern.data, lineOf)])
  const place = (path: string) => absolutePath(path, dirname(file), userHome)
  return {
    name,
    file,
    says,
    routes: (says.egress?.routes ?? []).map((entry, index) =>
      routeOf(entry, `${file}:${lineOf(["egress", "routes", index])}`, place),
    ),
    repos: Object.entries(says.git?.repos ?? {}).map(([repo, entry]) => ({
      name: repo,
      url: entry.url,
      identityFile: place(entry.identity_file),
      knownHostKey: entry.known_host_key,
      refs: entry.refs,
      allowCi: entry.allow_ci,
    })),
    lineOf,
  }
}

/** Two entries for a host would leave open which of them holds. */
function doubleHosts(data: Record<string, unknown>, lineOf: Frontmatter["lineOf"]): Fault[] {
  const egress = data.egress as { routes?: unknown } | null | undefined
  if (!Array.isArray(egress?.routes)) return []
  const faults: Fault[] = []
  const first = new Map<string, number>()
  for (const [index, entry] of egress.routes.entries()) {
    const host = (entry as { host?: unknown } | null)?.host
    if (typeof host !== "string") continue
    const path = ["egress", "routes", index, "host"]
    const line = lineOf(path)
    const before = first.get(hostForm(host))
    if (before === undefined) first.set(hostForm(host), line)
    else {
      faults.push({
        path,
        line,
        text: `${host} has a route on line ${before} already`,
        fix: "Make the two one",
      })
    }
  }
  return faults
}

function routeOf(entry: RouteEntry, at: string, place: (path: string) => string): BottleRoute {
  return {
    host: hostForm(entry.host),
    ...(entry.paths === undefined ? {} : { paths: entry.paths }),
    ...(entry.methods === undefined ? {} : { methods: entry.methods }),
    ...(entry.auth === undefined
      ? {}
      : { auth: { scheme: entry.auth.scheme, token: tokenOf(entry.auth.token, place) } }),
    intercept: entry.intercept,
    scheme: entry.scheme,
    private: entry.private,
    ...(entry.scan === undefined ? {} : { scan: entry.scan }),
    at,
  }
}

function tokenOf(
  token: NonNullable<RouteEntry["auth"]>["token"],
  place: (path: string) => string,
): TokenSource {
  if (token.env !== undefined) return { kind: "env", variable: token.env }
  if (token.file !== undefined) return { kind: "file", path: place(token.file) }
  return { kind: "command", argv: token.command! }
}

/** What a value of `env` means: `${NAME}` alone, `?` and a question, anything else as it stands. */
export function envValueOf(value: string): EnvValue {
  const variable = /^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(value)?.[1]
  if (variable !== undefined) return { kind: "host", variable }
  if (value.startsWith("?")) return { kind: "asked", prompt: value.slice(1).trim() }
  // `$${NAME}` is the way to write the text `${NAME}` itself.
  return { kind: "literal", value: value.startsWith("$${") ? value.slice(1) : value }
}
