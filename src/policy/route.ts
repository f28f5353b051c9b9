/** Rules compiled once per policy generation, and the decision on one request. */
import { type Cidr, parseCidr } from "./address.ts"
import { type Denial, showable } from "./denial.ts"
import {
  describeRequest,
  gitPush,
  hostNotAllowed,
  methodNotAllowed,
  pathAmbiguous,
  pathNotAllowed,
  pathNotCanonical,
  portNotAllowed,
  type Subject,
  schemeNotAllowed,
} from "./denials.ts"
import { isGitPush } from "./git-push.ts"
import { canonicalHostRule, hostInUrl } from "./host.ts"
import { type CanonicalPath, canonicalPath, compilePathRule, matchesPath, type PathRule } from "./path.ts"
import { KNOWN_METHODS, type Policy, type Route } from "./schema.ts"

/** A route with its rules ready for comparison. */
export interface CompiledRoute extends Route {
  /** Path rules in decoded form; undefined allows every path */
  pathRules: readonly PathRule[] | undefined
  /** Methods that pass, upper-case */
  methodSet: ReadonlySet<string>
  /** Private ranges that the host may resolve to */
  privateRanges: readonly Cidr[]
}

/** All routes of one policy generation. */
export interface RouteTable {
  generation: number
  identity: string
  /** By canonical host */
  exact: ReadonlyMap<string, CompiledRoute>
  /** By the name below which a wildcard holds: `example.com` for `*.example.com` */
  wildcard: ReadonlyMap<string, CompiledRoute>
  /** The hosts as text, for refusals */
  hosts: string
}

/** What is decided on. */
export interface RequestFacts {
  /** Method as sent: methods are case-sensitive (RFC 9110 section 9.1) */
  method: string
  /** Canonical host */
  host: string
  /** TCP port */
  port: number
  scheme: "https" | "http"
  /** Request target in origin form */
  target: string
}

export type HostDecision = { allow: true; route: CompiledRoute } | { allow: false; denial: Denial }

export type Decision =
  | { allow: true; route: CompiledRoute; forward: string; canonical: CanonicalPath }
  | { allow: false; denial: Denial }

/** Methods that no route may have: one opens tunnels, the other sends credentials back (RFC 9110 section 9.3.8). */
const NEVER: ReadonlySet<string> = new Set(["CONNECT", "TRACE"])
const DEFAULT_METHODS: ReadonlySet<string> = new Set(KNOWN_METHODS)

/**
 * Compiles a policy. Throws an Error that names the entry when a host, path rule or range is not canonical or a host
 * stands twice: a policy that cannot be enforced to the letter is not loaded.
 */
export function compileRoutes(policy: Policy): RouteTable {
  const exact = new Map<string, CompiledRoute>()
  const wildcard = new Map<string, CompiledRoute>()
  for (const route of policy.routes) {
    const host = canonicalHostRule(route.host)
    if (host === undefined)
      throw new Error(`route "${showable(route.host)}": not a host name, IP address or *.name`)
    const map = host.startsWith("*.") ? wildcard : exact
    const key = host.startsWith("*.") ? host.slice(2) : host
    if (map.has(key)) throw new Error(`route "${host}": listed twice`)
    map.set(key, compileRoute({ ...route, host }))
  }
  const hosts = policy.routes.map((route) => route.host).join(", ")
  return {
    generation: policy.generation,
    identity: policy.identity,
    exact,
    wildcard,
    hosts: showable(hosts, 160),
  }
}

function compileRoute(route: Route): CompiledRoute {
  if (route.scheme === "http" && route.auth !== undefined) {
    throw new Error(`route "${route.host}": a credential never goes over http in the clear`)
  }
  const pathRules = route.paths?.map((text) => {
    const rule = compilePathRule(text)
    if (rule === undefined)
      throw new Error(`route "${route.host}": path rule "${showable(text)}" is not canonical`)
    return rule
  })
  const privateRanges = route.private.map((text) => {
    const range = parseCidr(text)
    if (range === undefined) throw new Error(`route "${route.host}": "${showable(text)}" is not a CIDR range`)
    return range
  })
  const methods = route.methods?.filter((method) => !NEVER.has(method))
  return {
    ...route,
    pathRules,
    privateRanges,
    methodSet: methods === undefined ? DEFAULT_METHODS : new Set(methods),
  }
}

/** The route of a canonical host: its own entry, else the wildcard with the longest suffix. */
export function findRoute(table: RouteTable, host: string): CompiledRoute | undefined {
  const own = table.exact.get(host)
  if (own !== undefined || table.wildcard.size === 0) return own
  // No wildcard covers an address: a suffix that ends in a number is no host rule.
  for (let dot = host.indexOf("."); dot !== -1; dot = host.indexOf(".", dot + 1)) {
    const route = table.wildcard.get(host.slice(dot + 1))
    if (route !== undefined) return route
  }
  return undefined
}

/** Decides on the host, scheme and port alone: for CONNECT and for tunnels whose bytes are not looked at. */
export function decideHost(
  table: RouteTable,
  request: { host: string; port: number; scheme: "https" | "http" },
): HostDecision {
  const what = describeRequest("CONNECT", request.scheme, authority(request), "")
  return checkHost(table, request, { identity: table.identity, what })
}

/**
 * `scheme: http` opens port 80 in the clear in addition to 443; a route without it has 443 alone, and no route has
 * any other port: a host that was allowed for its web service was not allowed for its SSH or SMTP.
 */
function checkHost(
  table: RouteTable,
  request: { host: string; port: number; scheme: "https" | "http" },
  subject: Subject,
): HostDecision {
  const route = findRoute(table, request.host)
  if (route === undefined) return { allow: false, denial: hostNotAllowed(subject, request.host, table.hosts) }
  if (request.scheme === "http" && route.scheme !== "http") {
    return { allow: false, denial: schemeNotAllowed(subject, request.host) }
  }
  if (request.port !== (request.scheme === "https" ? 443 : 80)) {
    return { allow: false, denial: portNotAllowed(subject, request.port, request.scheme) }
  }
  return { allow: true, route }
}

/** Decides on one request. `forward` is the target to send upstream, `canonical` what it was decided on. */
export function decide(table: RouteTable, request: RequestFacts): Decision {
  const route = findRoute(table, request.host)
  const standard = request.scheme === "https" ? 443 : 80
  if (
    route === undefined ||
    request.port !== standard ||
    (request.scheme === "http" && route.scheme !== "http")
  ) {
    const refused = checkHost(table, request, subjectOf(table, request))
    if (!refused.allow) return refused
    throw new Error("the two checks of host, scheme and port disagree")
  }
  const rules = route.pathRules
  const canonical = canonicalPath(request.target, rules === undefined ? "keep" : "collapse")
  if (canonical === undefined) return refuse(pathNotCanonical(subjectOf(table, request)))
  const push = isGitPush(canonical)
  if (push !== "no") {
    const subject = subjectOf(table, request)
    return refuse(push === "yes" ? gitPush(subject) : pathNotCanonical(subject))
  }
  if (!route.methodSet.has(request.method)) {
    return refuse(methodNotAllowed(subjectOf(table, request), request.method, methodsText(route)))
  }
  if (rules !== undefined) {
    if (canonical.encodedSlash || canonical.nestedEscape) {
      return refuse(pathAmbiguous(subjectOf(table, request), pathsText(route)))
    }
    if (!matchesPath(rules, canonical.path)) {
      return refuse(pathNotAllowed(subjectOf(table, request), pathsText(route)))
    }
  }
  return { allow: true, route, forward: canonical.forward, canonical }
}

function refuse(denial: Denial): Decision {
  return { allow: false, denial }
}

function authority(request: { host: string; port: number; scheme: "https" | "http" }): string {
  const standard = request.scheme === "https" ? 443 : 80
  return request.port === standard ? hostInUrl(request.host) : `${hostInUrl(request.host)}:${request.port}`
}

function subjectOf(table: RouteTable, request: RequestFacts): Subject {
  const mark = request.target.search(/[?#]/)
  const path = mark === -1 ? request.target : request.target.slice(0, mark)
  return {
    identity: table.identity,
    what: describeRequest(request.method, request.scheme, authority(request), path),
  }
}

/** The methods of a route as text. */
export function methodsText(route: CompiledRoute): string {
  return [...route.methodSet].join(", ")
}

/** The path rules of a route as text. */
export function pathsText(route: Route): string {
  if (route.paths === undefined) return "all"
  const texts = route.paths.map((rule) => (rule.startsWith("=") ? `exactly ${rule.slice(1)}` : `${rule}...`))
  return texts.join(", ")
}
