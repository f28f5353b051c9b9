/**
 * The policy as the gateway enforces it: what the host program compiles from the manifests and what travels in
 * control messages. It holds no secret: credentials are named by id, their values travel apart from it.
 */
import * as z from "zod/mini"
import { once } from "./lazy.ts"

/** How a credential is put on a request: `bearer`, `basic` and `token` set Authorization, `header:<Name>` that header */
export const authScheme = z.string().check(z.regex(/^(bearer|basic|token|header:[A-Za-z0-9-]{1,64})$/))

export const routeAuth = once(() =>
  z.strictObject({
    /** How the credential is put on the request */
    scheme: authScheme,
    /** Id of the credential in the gateway's token table, never its value */
    credential: z.string().check(z.minLength(1), z.maxLength(128)),
  }),
)

export const route = once(() =>
  z.strictObject({
    /** Lower-case ASCII host name or IP literal; `*.example.com` covers one or more labels below, not the apex */
    host: z.string().check(z.minLength(1), z.maxLength(253)),
    /** Canonical path rules: a prefix, or exact with a leading `=`; absent means every path */
    paths: z.optional(z.array(z.string().check(z.minLength(1), z.maxLength(2048))).check(z.maxLength(256))),
    /** Upper-case methods; absent means all but TRACE, CONNECT and unknown ones */
    methods: z.optional(z.array(z.string().check(z.minLength(1), z.maxLength(32))).check(z.maxLength(16))),
    /** Credential that egress adds; absent means none */
    auth: z.optional(routeAuth()),
    /** False: the host is checked and the bytes are not */
    intercept: z.boolean(),
    /** `http` allows port 80 in the clear, and never goes with `auth` */
    scheme: z.enum(["https", "http"]),
    /** CIDR ranges of private addresses this host may resolve to */
    private: z.array(z.string().check(z.maxLength(64))).check(z.maxLength(64)),
    /** What a match of the scanner leads to */
    scan: z.optional(z.strictObject({ on_match: z.enum(["block", "propose", "off"]) })),
    /** Where the route comes from, for people: `manifest` or `provider:<name>` */
    origin: z.string().check(z.maxLength(128)),
  }),
)

export const upstreamProxy = once(() =>
  z.strictObject({
    /** Host name or address of the proxy that all traffic leaves through */
    host: z.string().check(z.minLength(1), z.maxLength(253)),
    /** TCP port */
    port: z.int().check(z.gte(1), z.lte(65535)),
    /** Id of the credential for Proxy-Authorization (value `user:password`) */
    credential: z.optional(z.string().check(z.maxLength(128))),
  }),
)

export const policy = once(() =>
  z.strictObject({
    /** Schema version of this message */
    version: z.literal(1),
    /** Grows by one with every change; answers carry the one that is live */
    generation: z.int().check(z.gte(1)),
    /** Identity of the bottle */
    identity: z.string().check(z.maxLength(64)),
    /** One entry per host; the most specific host wins */
    routes: z.array(route()).check(z.maxLength(1024)),
    /** Placeholders the agent holds, with the hosts they belong to: seen anywhere else they stop the request */
    placeholders: z
      .array(
        z.strictObject({
          value: z.string().check(z.minLength(8), z.maxLength(512)),
          hosts: z.array(z.string().check(z.maxLength(253))).check(z.maxLength(64)),
        }),
      )
      .check(z.maxLength(256)),
    /** Addresses of the host machine itself, refused unless a route's `private` covers them */
    host_addresses: z.array(z.string().check(z.maxLength(64))).check(z.maxLength(256)),
    /** Proxy that the gateway has to leave through */
    upstream_proxy: z.optional(upstreamProxy()),
  }),
)

export type RouteAuth = z.infer<ReturnType<typeof routeAuth>>
export type Route = z.infer<ReturnType<typeof route>>
export type UpstreamProxy = z.infer<ReturnType<typeof upstreamProxy>>
export type Policy = z.infer<ReturnType<typeof policy>>

/** Methods that a route without `methods` allows (RFC 9110, RFC 5789, RFC 4918, RFC 3253). */
export const KNOWN_METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "PROPFIND",
  "PROPPATCH",
  "MKCOL",
  "COPY",
  "MOVE",
  "LOCK",
  "UNLOCK",
  "REPORT",
  "SEARCH",
] as const
