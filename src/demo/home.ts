/** A BOTTLE_HOME for one run, with one agent and one bottle: ordinary manifests, gone with the run. */
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { removeTree } from "../backend/bubblewrap/tree-remove.ts"
import type { HostEnv } from "../runtime/home.ts"
import type { DemoNetwork } from "./service.ts"

/** Names of the demo's own: nobody can have them (RFC 2606, 3). */
export const ALLOWED_HOST = "api.demo.example"
export const CLOSED_HOST = "files.demo.example"
/** The only addresses that they may have, and do have */
export const DEMO_RANGE = "127.0.0.1/32"
export const AGENT_NAME = "demo"
/** Life of the agent, in seconds: should this program be killed, its bottle ends by itself. */
const LIFE_S = 120
/** Host variable that the gateway takes the credential from */
const TOKEN_VARIABLE = "DEMO_TOKEN"

/** What the agent has instead of the token. A literal of the manifest: it is worth nothing. */
export const PLACEHOLDER = "placeholder-worth-nothing"

const BOTTLE = `---
agent_provider: { template: command, command: [sleep, "${LIFE_S}"] }
backend: bubblewrap
env: { TOKEN: ${PLACEHOLDER} }
egress:
  routes:
    - host: ${ALLOWED_HOST}
      private: ["${DEMO_RANGE}"]
      auth: { scheme: bearer, token: { env: ${TOKEN_VARIABLE} } }
---
`
const AGENT = `---
bottle: demo
---
`

export interface DemoHome extends AsyncDisposable {
  /** BOTTLE_HOME, absolute */
  home: string
  /** An empty folder to start from, so that the manifests of wherever we are called from are left alone */
  cwd: string
  /** The environment as a user in a company's network has it */
  env: HostEnv
}

/** Variables that a start reads and that say nothing about its network */
const KEPT = ["HOME", "PATH", "TERM", "COLORTERM", "XDG_CACHE_HOME", "TMPDIR"]

export function makeHome(network: DemoNetwork, token: string, host: HostEnv): DemoHome {
  const root = mkdtempSync(join(tmpdir(), "bottle-demo-"))
  const home = join(root, "home")
  const cwd = join(root, "cwd")
  for (const folder of [cwd, home, join(home, "bottles"), join(home, "agents")]) {
    mkdirSync(folder, { mode: 0o700 })
    // Whatever the umask says.
    chmodSync(folder, 0o700)
  }
  const write = (path: string, text: string) => writeFileSync(path, text, { mode: 0o600 })
  write(join(home, "bottles", "demo.md"), BOTTLE)
  write(join(home, "agents", `${AGENT_NAME}.md`), AGENT)
  const authority = join(root, "authority.pem")
  write(authority, network.authority)
  const address = DEMO_RANGE.slice(0, DEMO_RANGE.indexOf("/"))
  return {
    home,
    cwd,
    env: {
      ...Object.fromEntries(KEPT.map((name) => [name, host[name]])),
      BOTTLE_HOME: home,
      BOTTLE_EXTRA_CA_CERTS: authority,
      BOTTLE_EXTRA_HOSTS: [ALLOWED_HOST, CLOSED_HOST].map((name) => `${name}=${address}`).join(","),
      BOTTLE_UPSTREAM_PROXY: `http://127.0.0.1:${network.proxyPort}`,
      [TOKEN_VARIABLE]: token,
    },
    [Symbol.asyncDispose]: () => removeTree(root),
  }
}
