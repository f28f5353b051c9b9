/**
 * Credentials that the bottle itself puts on a request, and that egress takes off: with a key of the attacker's own,
 * an allowed host is an exit too (upload to the attacker's account). What egress injects comes after this.
 */
import { decodeAscii } from "./path.ts"

/** Header names that hold credentials, in lower case with `-`. */
export const STRIPPED_HEADERS: ReadonlySet<string> = new Set(
  `
  authorization proxy-authorization authentication x-authorization x-authentication x-original-authorization
  x-forwarded-authorization x-serverless-authorization x-auth x-auth-key x-auth-user-service-key
  cookie cookie2
  x-api-key api-key apikey x-apikey x-api-token api-token x-api-secret x-goog-api-key xi-api-key
  x-auth-token auth-token x-access-token access-token x-token x-user-token x-session-token x-forwarded-access-token
  x-secret-key x-client-secret client-secret x-service-token x-subscription-token
  private-token job-token deploy-token x-github-token x-gitlab-token circle-token x-buildkite-token
  x-amz-security-token x-amz-credential x-amzn-oidc-accesstoken x-goog-iam-authorization-token
  x-goog-iap-jwt-assertion x-ms-token-aad-access-token x-ms-authorization-auxiliary x-zumo-auth
  ocp-apim-subscription-key x-functions-key
  x-vault-token x-consul-token x-nomad-token dd-api-key dd-application-key x-honeycomb-team x-insert-key
  x-license-key x-query-key x-sentry-auth x-sentry-token x-shopify-access-token x-postmark-server-token
  x-postmark-account-token x-jfrog-art-api x-figma-token x-plex-token x-hasura-admin-secret x-appwrite-key
  x-appwrite-jwt x-parse-master-key x-parse-session-token x-rapidapi-key x-master-key fastly-key kong-admin-token
  cf-access-client-id cf-access-client-secret cf-access-token helicone-auth x-tfe-token
  `
    .trim()
    .split(/\s+/),
)

/** Endings that make a name a credential's, whatever vendor stands before them. */
const ENDINGS = [
  "-api-key",
  "-apikey",
  "-api-token",
  "-auth-token",
  "-access-token",
  "-secret-key",
  "-authorization",
]

/**
 * Whether a header of this name holds a credential. Case does not count, and every character that is no letter or
 * digit counts as `-`: CGI and its heirs turn them all into `_` (RFC 3875 section 4.1.18), so `X_Api.Key` arrives
 * there as `X-Api-Key`.
 */
export function isCredentialHeader(name: string): boolean {
  const plain = foldHeader(name)
  if (STRIPPED_HEADERS.has(plain)) return true
  // Asked for every header of every request: most names are settled by their last letter.
  const last = plain.charCodeAt(plain.length - 1)
  return (last === LETTER_Y || last === LETTER_N) && ENDINGS.some((ending) => plain.endsWith(ending))
}

const LETTER_Y = 0x79
const LETTER_N = 0x6e

/** The name in lower case with `-` for whatever is no letter or digit; the same string when it is that already. */
export function foldHeader(name: string): string {
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i)
    if ((c >= 0x61 && c <= 0x7a) || c === 0x2d || (c >= 0x30 && c <= 0x39)) continue
    return name.toLowerCase().replace(/[^a-z0-9]/g, "-")
  }
  return name
}

/**
 * Headers by which a request names another method, path or host than its first line does. Servers that obey them
 * (Symfony, IIS, Rails, Spring) would do what the rules did not see, so egress drops them.
 */
const OVERRIDES: ReadonlySet<string> = new Set([
  "x-http-method",
  "x-http-host-override",
  "x-http-path-override",
  "x-envoy-original-path",
  "x-envoy-original-host",
  "x-original-path",
  "x-http-method-override",
  "x-method-override",
  "x-original-url",
  "x-rewrite-url",
  "x-original-uri",
  "x-forwarded-uri",
  "x-forwarded-path",
  "x-forwarded-prefix",
  "x-forwarded-host",
  "x-forwarded-server",
  "x-host",
  "x-original-host",
  "forwarded",
])

/** Whether a header of this name overrides method, path or host, compared as `isCredentialHeader` does. */
export function isOverrideHeader(name: string): boolean {
  return OVERRIDES.has(foldHeader(name))
}

/** Prefixes of WebSocket subprotocols that are credentials: browsers cannot set headers, so services take them here. */
const PROTOCOL_CREDENTIALS =
  /^(?:openai-insecure-api-key\.|base64url\.bearer\.authorization\.k8s\.io\.|bearer[.-])/i

/** Removes credentials from the value of Sec-WebSocket-Protocol; the result may be empty. */
export function stripProtocols(value: string): string {
  const offered = value.split(",").map((protocol) => protocol.trim())
  return offered.filter((protocol) => protocol !== "" && !PROTOCOL_CREDENTIALS.test(protocol)).join(", ")
}

/** What the choice depends on. */
export interface QueryContext {
  /** Canonical host of the request */
  host?: string
  /** Method of the request; without it, the strictest choice */
  method?: string
}

/** Query names that are credentials everywhere, in lower case without separators. */
const ALWAYS: ReadonlySet<string> = new Set(
  `
  accesstoken apikey apitoken apisecret authtoken token auth authorization bearer bearertoken xapikey xauthtoken
  xaccesstoken privatetoken jobtoken deploytoken personalaccesstoken oauthtoken refreshtoken sessiontoken usertoken
  clientsecret clientassertion subscriptionkey applicationkey secretkey accesskey secret password passwd
  circletoken hapikey
  `
    .trim()
    .split(/\s+/),
)

/**
 * Names of presigned URLs: AWS version 4 and 2, Google Cloud Storage, CloudFront, Azure's shared access signatures
 * (GitHub's release downloads carry `sig` and `jwt`).
 * They are how releases, layers and large files are handed out, each link good for one object and one method, so on GET
 * and HEAD they stay: without them downloads end, and with them nothing leaves that the path could not carry. On other
 * methods they are someone's permission to upload, and go.
 */
const SIGNATURES: ReadonlySet<string> = new Set(
  `
  xamzsignature xamzcredential xamzsecuritytoken xgoogsignature xgoogcredential signature awsaccesskeyid
  googleaccessid ossaccesskeyid keypairid sig jwt
  `
    .trim()
    .split(/\s+/),
)

/** Hosts on which an ordinary name is a credential: Google's `key`, the `code` of Azure Functions. */
const BY_HOST: readonly { name: string; suffix: string }[] = [
  { name: "key", suffix: "googleapis.com" },
  { name: "code", suffix: "azurewebsites.net" },
]

/** The start of a Google API key, by which `key=` is told from an ordinary parameter on any host. */
const GOOGLE_KEY = /^AIza[\w-]{20,}/

/**
 * Removes credentials from a query (without `?`). Names are compared percent-decoded, in lower case, without `-`, `_`,
 * `.` and blanks and up to a `[`, as frameworks fold them (`accessToken`, `access_token[]`). Both `&` and `;` separate,
 * as older servers have it. The rest stays byte for byte.
 *
 * Not taken: `key`, `code`, `state`, `id`, `user` and the like, which ordinary queries are full of (but see BY_HOST),
 * and pagination (`page_token`, `pageToken`, `next_token`), which is no credential.
 */
export function stripQuery(query: string, context: QueryContext = {}): { query: string; stripped: string[] } {
  if (query === "") return { query, stripped: [] }
  const stripped: string[] = []
  let kept: string | undefined
  let start = 0
  for (let i = 0; i <= query.length; i++) {
    const c = i === query.length ? AMPERSAND : query.charCodeAt(i)
    if (c !== AMPERSAND && c !== SEMICOLON) continue
    const piece = query.slice(start, i)
    const name = credentialName(piece, context)
    if (name !== undefined) stripped.push(name)
    else kept = kept === undefined ? piece : `${kept}${query[start - 1]}${piece}`
    start = i + 1
  }
  return stripped.length === 0 ? { query, stripped } : { query: kept ?? "", stripped }
}

const AMPERSAND = 0x26
const SEMICOLON = 0x3b

/** The same on a request target: the `?` goes with the last parameter. */
export function stripTarget(
  target: string,
  context: QueryContext = {},
): { target: string; stripped: string[] } {
  const mark = target.indexOf("?")
  if (mark === -1 || mark === target.length - 1) return { target, stripped: [] }
  const { query, stripped } = stripQuery(target.slice(mark + 1), context)
  if (stripped.length === 0) return { target, stripped }
  return { target: query === "" ? target.slice(0, mark) : `${target.slice(0, mark)}?${query}`, stripped }
}

/** The folded name of a parameter that is a credential, else undefined. */
function credentialName(piece: string, context: QueryContext): string | undefined {
  const equals = piece.indexOf("=")
  const name = foldName(equals === -1 ? piece : piece.slice(0, equals))
  if (ALWAYS.has(name)) return name
  if (SIGNATURES.has(name)) return context.method === "GET" || context.method === "HEAD" ? undefined : name
  if (name === "key" && equals !== -1 && GOOGLE_KEY.test(decodeAscii(piece.slice(equals + 1)))) return name
  for (const rule of BY_HOST) {
    if (name === rule.name && isUnder(context.host, rule.suffix)) return name
  }
  return undefined
}

function isUnder(host: string | undefined, suffix: string): boolean {
  return host !== undefined && (host === suffix || host.endsWith(`.${suffix}`))
}

function foldName(raw: string): string {
  // Two rounds: a front end that decodes once more must not turn `access%255ftoken` into a credential.
  let name = decodeAscii(decodeAscii(raw))
  const bracket = name.indexOf("[")
  if (bracket > 0) name = name.slice(0, bracket)
  return name.toLowerCase().replace(/[-_.+\s\u0000]/g, "")
}
