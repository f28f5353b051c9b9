/** One egress route of the earlier system in today's spelling. */

type Data = Record<string, unknown>

export interface TranslatedRoute {
  /** The entry as it is written today */
  entry: Data
  /** What could not be carried over, one sentence each */
  notes: string[]
  /** Old keys that were found */
  old: string[]
}

const OLD_KEYS = [
  "path_allowlist",
  "role",
  "pipelock",
  "matches",
  "dlp",
  "auth_scheme",
  "token_ref",
  "token_env",
]

/** The route in today's spelling; undefined when nothing in it is old. */
export function translateRoute(route: unknown): TranslatedRoute | undefined {
  if (!isData(route)) return undefined
  const old = OLD_KEYS.filter((key) => key in route)
  if (isData(route.auth) && "token_ref" in route.auth) old.push("auth.token_ref")
  if (old.length === 0) return undefined
  const notes: string[] = []
  const entry: Data = {}
  for (const [key, value] of Object.entries(route)) {
    if (!OLD_KEYS.includes(key) && key !== "auth") entry[key] = value
  }
  const paths = [...texts(route.path_allowlist), ...translateMatches(route.matches, entry, notes)]
  if (paths.length > 0) entry.paths = paths
  const auth = translateAuth(route)
  if (auth !== undefined) entry.auth = auth
  if ("role" in route) notes.push("role is gone: a provider knows its own hosts")
  if (isData(route.pipelock)) translatePipelock(route.pipelock, entry, notes)
  if (isData(route.dlp)) translateDlp(route.dlp, entry, notes)
  return { entry, notes, old }
}

/** `{scheme: Bearer, token_ref: X}` in today's spelling. */
export function translateAuth(route: Data): Data | undefined {
  const auth = isData(route.auth) ? route.auth : {}
  const variable = auth.token_ref ?? route.token_ref ?? route.token_env
  if (variable === undefined) return isData(route.auth) ? route.auth : undefined
  const scheme = String(auth.scheme ?? route.auth_scheme ?? "bearer").toLowerCase()
  return { scheme, token: { env: variable } }
}

function translatePipelock(pipelock: Data, entry: Data, notes: string[]): void {
  const ranges = texts(pipelock.ssrf_ip_allowlist)
  if (ranges.length > 0) entry.private = ranges.map(asRange)
  if (pipelock.tls_passthrough !== true) return
  // It kept the scanner out, while paths and the credential still worked: sealed bytes would end those.
  const inspected = ["auth", "paths", "methods"].filter((key) => key in entry)
  if (inspected.length === 0) entry.intercept = false
  else {
    entry.scan = { on_match: "off" }
    notes.push(
      `tls_passthrough becomes a route without scanning, because ${inspected.join(" and ")} needs the bytes seen`,
    )
  }
}

function asRange(address: string): string {
  if (address.includes("/")) return address
  return `${address}/${address.includes(":") ? 128 : 32}`
}

const ON_MATCH: Data = { supervise: "propose", block: "block", redact: "block", warn: "off" }

function translateDlp(dlp: Data, entry: Data, notes: string[]): void {
  if (dlp.outbound_detectors === false) entry.scan = { on_match: "off" }
  else if (typeof dlp.outbound_on_match === "string" && dlp.outbound_on_match in ON_MATCH) {
    entry.scan = { on_match: ON_MATCH[dlp.outbound_on_match] }
    if (dlp.outbound_on_match === "redact") notes.push("redact is gone: what matches is refused")
  }
  if ("inbound_detectors" in dlp) notes.push("inbound_detectors is gone")
  if (Array.isArray(dlp.outbound_detectors)) notes.push("single detectors cannot be chosen: all of them look")
}

function translateMatches(matches: unknown, entry: Data, notes: string[]): string[] {
  if (!Array.isArray(matches)) return []
  const paths: string[] = []
  const methods = new Set<string>()
  for (const match of matches.filter(isData)) {
    for (const path of Array.isArray(match.paths) ? match.paths.filter(isData) : []) {
      if (path.type === "regex")
        notes.push(`the pattern ${path.value} has no counterpart: write it as prefixes`)
      else paths.push(path.type === "exact" ? `=${path.value}` : String(path.value))
    }
    for (const method of texts(match.methods)) methods.add(method.toUpperCase())
    if ("headers" in match) notes.push("rules on headers are gone")
  }
  if (methods.size > 0) entry.methods = [...methods]
  if (matches.length > 1 && methods.size > 0) {
    notes.push("every method now goes with every path: narrow them if that is too much")
  }
  return paths
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : []
}

export function isData(value: unknown): value is Data {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
