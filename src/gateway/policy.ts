/** Compiles what manifests and providers say into the policy that the gateway enforces, and the credentials it needs. */
import { createHash } from "node:crypto"
import { basename } from "node:path"
import type { BottleRoute, TokenSource } from "../manifest/types.ts"
import { validateNarrowing } from "../policy/narrowing.ts"
import type { Policy, Route, UpstreamProxy } from "../policy/schema.ts"
import type { ProviderRoute } from "../provider/types.ts"
import { BottleError } from "../runtime/error.ts"

export interface PolicyRequest {
  identity: string
  routes: BottleRoute[]
  provider: { name: string; routes: ProviderRoute[] }
  placeholders: Policy["placeholders"]
  /** Addresses of this machine's interfaces */
  hostAddresses: string[]
  upstreamProxy?: { proxy: UpstreamProxy; userinfo?: string }
}

export interface CompiledPolicy {
  policy: Policy
  /** Where each credential of the policy comes from, by id */
  credentials: Record<string, TokenSource>
  /** Credentials whose value is known already, by id */
  values: Record<string, string>
}

/** Longest name of a source that is its own id, in characters, within what the policy takes. */
const ID_MAX = 100

/**
 * Id of a credential by its source, so that two routes with one source share it and no others do: what does not fit
 * whole, or has parts (a command, whose arguments may be telling), is told apart by a digest.
 */
function credentialId(source: TokenSource): string {
  if (source.kind === "command") return `command:${digested(basename(source.argv[0] ?? ""), source.argv)}`
  const name = source.kind === "env" ? source.variable : source.path
  return `${source.kind}:${name.length <= ID_MAX ? name : digested(basename(name), [name])}`
}

function digested(name: string, whole: readonly string[]): string {
  const digest = createHash("sha256").update(JSON.stringify(whole)).digest("hex")
  return `${name.slice(0, 60)}-${digest.slice(0, 16)}`
}

/** Throws a BottleError when a manifest widens a route that the provider owns. */
export function compilePolicy(request: PolicyRequest): CompiledPolicy {
  const credentials: Record<string, TokenSource> = {}
  const values: Record<string, string> = {}
  const use = (scheme: string, source: TokenSource) => {
    const credential = credentialId(source)
    credentials[credential] = source
    return { scheme, credential }
  }
  const routes = new Map<string, Route>()
  for (const own of request.provider.routes) {
    routes.set(own.host, {
      host: own.host,
      paths: own.paths,
      ...(own.methods ? { methods: own.methods } : {}),
      ...(own.auth ? { auth: use(own.auth.scheme, { kind: "env", variable: own.auth.variable }) } : {}),
      intercept: true,
      scheme: "https",
      private: [],
      origin: `provider:${request.provider.name}`,
    })
  }
  for (const entry of request.routes) {
    const owned = request.provider.routes.find((route) => route.host === entry.host)
    if (owned !== undefined) checkNarrower(owned, entry, request.provider.name)
    const base = routes.get(entry.host)
    const paths = entry.paths ?? base?.paths
    const methods = entry.methods ?? base?.methods
    const auth = entry.auth ? use(entry.auth.scheme, entry.auth.token) : base?.auth
    routes.set(entry.host, {
      host: entry.host,
      ...(paths ? { paths } : {}),
      ...(methods ? { methods } : {}),
      ...(auth ? { auth } : {}),
      intercept: entry.intercept,
      scheme: entry.scheme,
      private: entry.private,
      ...(entry.scan ? { scan: entry.scan } : {}),
      origin: base?.origin ?? "manifest",
    })
  }
  // A credential that a manifest replaced is not asked for.
  const used = new Set([...routes.values()].flatMap((route) => route.auth?.credential ?? []))
  for (const id of Object.keys(credentials)) if (!used.has(id)) delete credentials[id]

  const upstream = request.upstreamProxy
  if (upstream?.userinfo) values["upstream-proxy"] = upstream.userinfo
  return {
    policy: {
      version: 1,
      generation: 1,
      identity: request.identity,
      routes: [...routes.values()],
      placeholders: request.placeholders,
      host_addresses: request.hostAddresses,
      ...(upstream
        ? {
            upstream_proxy: {
              ...upstream.proxy,
              ...(upstream.userinfo ? { credential: "upstream-proxy" } : {}),
            },
          }
        : {}),
    },
    credentials,
    values,
  }
}

function checkNarrower(owned: ProviderRoute, entry: BottleRoute, provider: string): void {
  const faults = validateNarrowing(owned, entry)
  if (faults.length === 0) return
  throw new BottleError({
    what: `${entry.at}: the route for ${entry.host} may only narrow the one of provider ${provider}`,
    why: faults.join("; "),
    next: `Keep within ${owned.paths.join(", ")}, or drop paths, methods, intercept and scheme from the entry`,
  })
}
