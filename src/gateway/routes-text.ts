/** The live routes as YAML that a person edits, and back. */
import { type Document, parseDocument, stringify } from "yaml"
import * as z from "zod/mini"
import { parseCidr } from "../policy/address.ts"
import { canonicalHostRule } from "../policy/host.ts"
import { once } from "../policy/lazy.ts"
import { canonicalPathRule } from "../policy/path.ts"
import { type Policy, policy, type Route, route } from "../policy/schema.ts"
import { BottleError } from "../runtime/error.ts"
import { IN_ENGLISH, schemaFault } from "../runtime/schema-fault.ts"
import type { ControlClient } from "./control-client.ts"

const HEAD = `# Live routes of this bottle. Saved and valid, they take effect at once; a mistake changes nothing.
# host, paths (prefix, or exact with a leading =), methods, auth (scheme and the id of a loaded credential),
# intercept, scheme, private (address ranges). Credentials cannot be added here: they are loaded at start.
`

const routesFile = once(() =>
  z.strictObject({
    routes: z.array(z.partial(route(), { intercept: true, scheme: true, private: true, origin: true })),
  }),
)

/** The policy that is live now. Throws a BottleError when the gateway is empty. */
export async function livePolicy(client: ControlClient, identity: string): Promise<Policy> {
  const { status } = await client.status()
  if (status.policy !== undefined) return status.policy
  throw new BottleError({
    what: "The gateway has no routes loaded",
    why: "it was restarted and refuses everything",
    next: `Load it: bottle reload ${identity}`,
  })
}

export function routesText(live: Policy): string {
  const routes = live.routes.map(({ origin, ...rest }) => ({ ...rest, origin }))
  return HEAD + stringify({ routes })
}

/** The next generation with the routes of the text. Throws a BottleError that names the entry and the mend. */
export function parseRoutes(text: string, live: Policy): Policy {
  const document = parseDocument(text, { uniqueKeys: true })
  const fault = document.errors[0]
  if (fault !== undefined) throw broken(fault.message)
  const read = routesFile().safeParse(plain(document), IN_ENGLISH)
  if (!read.success) throw broken(schemaFault(read.error, "routes"))
  const hosts = new Set<string>()
  const credentials = new Set(live.routes.flatMap((entry) => entry.auth?.credential ?? []))
  const routes = read.data.routes.map((entry): Route => {
    const host = canonicalHostRule(entry.host)
    if (host === undefined) throw broken(`${entry.host} is not a host`)
    if (hosts.has(host)) throw broken(`${host} has two entries`)
    hosts.add(host)
    const paths = entry.paths?.map((rule) => {
      const canonical = canonicalPathRule(rule)
      if (canonical === undefined) throw broken(`${host}: "${rule}" is not a path rule`)
      return canonical
    })
    const range = entry.private?.find((text) => parseCidr(text) === undefined)
    if (range !== undefined) throw broken(`${host}: "${range}" is not a range of addresses, as in 10.0.0.0/8`)
    if (entry.auth && !credentials.has(entry.auth.credential)) {
      throw broken(
        `${host}: the credential "${entry.auth.credential}" is not loaded (there are: ${[...credentials].join(", ") || "none"})`,
      )
    }
    if (entry.auth && entry.scheme === "http")
      throw broken(`${host}: a credential never travels in the clear`)
    if (entry.auth && entry.intercept === false) throw broken(`${host}: a credential needs intercept: true`)
    return {
      ...entry,
      host,
      ...(paths ? { paths } : {}),
      intercept: entry.intercept ?? true,
      scheme: entry.scheme ?? "https",
      private: entry.private ?? [],
      origin: entry.origin ?? "edit",
    } as Route
  })
  const next = policy().safeParse({ ...live, generation: live.generation + 1, routes }, IN_ENGLISH)
  if (next.success) return next.data
  throw broken(schemaFault(next.error, "routes"))
}

function plain(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 })
  } catch {
    throw broken("anchors and aliases are not understood here: write the value out")
  }
}

function broken(why: string): BottleError {
  return new BottleError({ what: "The routes were not changed", why, next: "Mend the file and save again" })
}
