/** What the host's environment says about the way out: its addresses, its proxy, its own certificate authorities. */
import { readFileSync } from "node:fs"
import { isIP } from "node:net"
import { networkInterfaces } from "node:os"
import { canonicalHost, splitAuthority } from "../policy/host.ts"
import type { UpstreamProxy } from "../policy/schema.ts"
import { BottleError, reasonOf } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"

/** Every address of this machine but loopback, which is refused anyway. */
export function hostAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return [
    ...new Set(all.filter((address) => !address.internal).map((address) => bare(address.address))),
  ].slice(0, 256)
}

/** Without the zone of a link-local address. */
function bare(address: string): string {
  return address.split("%")[0] ?? address
}

export interface HostProxy {
  proxy: UpstreamProxy
  /** `user:password` of the proxy, secret */
  userinfo?: string
  /** Variable it was found in */
  variable: string
  /** True when it listens on this machine's loopback, which a gateway with a network of its own cannot reach */
  onLoopback: boolean
}

const PROXY_VARIABLES = ["BOTTLE_UPSTREAM_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]

/**
 * The proxy that this host's traffic leaves through; `BOTTLE_UPSTREAM_PROXY` comes first, and `none` in it means none.
 * Throws a BottleError for one that a gateway cannot use.
 */
export function hostProxy(env: HostEnv): HostProxy | undefined {
  const variable = PROXY_VARIABLES.find((name) => env[name])
  const text = variable === undefined ? undefined : env[variable]
  if (variable === undefined || text === undefined || text === "none") return undefined
  const refuse = (why: string) => proxyRefused(variable, why)
  const url = parseUrl(text)
  if (url === undefined || url.protocol !== "http:")
    throw refuse("only http://[user:password@]host:port is understood")
  const host = url.hostname.replace(/^\[|\]$/g, "")
  const [user, password] = [decoded(url.username), decoded(url.password)]
  if (user === undefined || password === undefined)
    throw refuse("its user or password holds a % that begins no escape")
  return {
    variable,
    proxy: { host, port: url.port === "" ? 80 : Number(url.port) },
    onLoopback: host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127.")),
    ...(user === "" ? {} : { userinfo: `${user}:${password}` }),
  }
}

/** Throws a BottleError when the gateway of such a backend has no way to the proxy. */
export function checkProxyReach(found: HostProxy, gatewayNetwork: "host" | "own"): void {
  if (!found.onLoopback || gatewayNetwork === "host") return
  throw proxyRefused(
    found.variable,
    "it listens on this machine's loopback, which a gateway in a container cannot reach",
  )
}

function proxyRefused(variable: string, why: string): BottleError {
  return new BottleError({
    what: `The proxy in ${variable} cannot be used`,
    why,
    next: "Set BOTTLE_UPSTREAM_PROXY to an http:// proxy, or to `none` to leave directly",
  })
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text.includes("://") ? text : `http://${text}`)
  } catch {
    return undefined
  }
}

/** The corporate roots named by BOTTLE_EXTRA_CA_CERTS as PEM, empty when there are none. */
export function extraCaCerts(env: HostEnv): string {
  const path = env.BOTTLE_EXTRA_CA_CERTS
  if (!path) return ""
  const next = "Let BOTTLE_EXTRA_CA_CERTS name a PEM file, or unset it"
  let text: string
  try {
    text = readFileSync(path, "utf8")
  } catch (error) {
    throw new BottleError({
      what: `Could not read ${path} (BOTTLE_EXTRA_CA_CERTS)`,
      why: reasonOf(error),
      next,
    })
  }
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text
  throw new BottleError({
    what: `${path} (BOTTLE_EXTRA_CA_CERTS) cannot be used`,
    why: "it holds no certificate",
    next,
  })
}

/**
 * Names with fixed addresses for the gateway, from BOTTLE_EXTRA_HOSTS: `host=address`, comma-separated, as
 * `docker run --add-host` takes them. The addresses pass the same checks as resolved ones.
 */
export function extraHosts(env: HostEnv): Record<string, string> {
  const hosts: Record<string, string> = {}
  for (const item of (env.BOTTLE_EXTRA_HOSTS ?? "").split(",").filter((part) => part.trim() !== "")) {
    const [name = "", address = ""] = item.split("=").map((part) => part.trim())
    const host = canonicalHost(name)
    if (host === undefined || splitAuthority(host)?.port !== undefined || isIP(address) === 0) {
      throw new BottleError({
        what: `BOTTLE_EXTRA_HOSTS cannot be used`,
        why: `"${item.trim()}" is not host=address`,
        next: "Write it as host=address,host=address",
      })
    }
    hosts[host] = address
  }
  return hosts
}
