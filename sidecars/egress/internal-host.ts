/** `http://bottle.internal`: what the gateway itself tells the agent. Never forwarded, and never a value. */
import type { CompiledRoute } from "../../src/policy/route.ts"
import type { Live } from "./live.ts"

const HELP = `This is the gateway of a bottle: everything that leaves the sandbox passes it.

GET /policy   the rules that hold now, as JSON

What the rules do not name is refused with status 403 and a JSON body that says what would pass and whom to ask.
`

/** The whole answer as text. `close` adds that the connection ends. */
export function answerInternal(live: Live, method: string, target: string, close: boolean): string {
  const path = target.replace(/\?.*$/s, "")
  const [status, type, body] = contentOf(live, method, path)
  const bytes = Buffer.from(body)
  const lines = [
    `HTTP/1.1 ${status}`,
    `Content-Type: ${type}; charset=utf-8`,
    `Content-Length: ${bytes.length}`,
    "Cache-Control: no-store",
  ]
  if (close) lines.push("Connection: close")
  return `${lines.join("\r\n")}\r\n\r\n${method === "HEAD" ? "" : bytes.toString("latin1")}`
}

function contentOf(live: Live, method: string, path: string): [string, string, string] {
  if (method !== "GET" && method !== "HEAD") return ["405 Method Not Allowed", "text/plain", HELP]
  if (path === "/policy") return ["200 OK", "application/json", `${JSON.stringify(describe(live))}\n`]
  if (path === "/") return ["200 OK", "text/plain", HELP]
  return ["404 Not Found", "text/plain", HELP]
}

function describe(live: Live): unknown {
  const routes = [...live.table.exact.values(), ...live.table.wildcard.values()]
  return {
    generation: live.policy.generation,
    identity: live.policy.identity,
    routes: routes.map(describeRoute),
  }
}

function describeRoute(route: CompiledRoute): unknown {
  return {
    host: route.host,
    scheme: route.scheme,
    intercept: route.intercept,
    methods: [...route.methodSet],
    ...(route.paths === undefined ? {} : { paths: route.paths }),
    ...(route.auth === undefined ? {} : { auth: route.auth.scheme }),
  }
}
