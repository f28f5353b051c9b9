/**
 * Keys of the earlier system. Each gives an error that shows that very entry as it is written today, so that a
 * migration is a matter of copying.
 */
import { stringify } from "yaml"
import type { KeyPath } from "./fault.ts"
import { isData, translateRoute } from "./legacy-route.ts"
import { kebabCase } from "./other-fields.ts"

type Data = Record<string, unknown>

export interface LegacyFault {
  path: KeyPath
  text: string
  fix: string
}

export interface Modernised {
  /** The data with what was told of here taken out, for the other checks */
  data: Data
  faults: LegacyFault[]
}

/** Splits frontmatter into what today's schema knows and what the earlier system called otherwise. */
export function modernise(data: Data): Modernised {
  const faults: LegacyFault[] = []
  const rest: Data = { ...data }
  for (const [key, translate] of Object.entries(TOP_LEVEL)) {
    if (!(key in data)) continue
    faults.push({ path: [key], ...translate(data[key]) })
    delete rest[key]
  }
  if ("git" in data) rest.git = moderniseGit(data.git, faults)
  if ("egress" in data) rest.egress = moderniseEgress(data.egress, faults)
  if (isData(data.agent_provider) && "auth_token" in data.agent_provider) {
    const { auth_token: variable, ...provider } = data.agent_provider
    const route = { host: "api.anthropic.com", auth: { scheme: "bearer", token: { env: variable } } }
    faults.push({
      path: ["agent_provider", "auth_token"],
      text: "a credential belongs to the route it is sent on",
      fix: write({ egress: { routes: [route] } }),
    })
    rest.agent_provider = provider
  }
  return { data: rest, faults }
}

type Translation = { text: string; fix: string }

const TOP_LEVEL: Record<string, (value: unknown) => Translation> = {
  runtime: () => ({
    text: "the runtime is found by itself: gVisor is used where it is registered",
    fix: "Remove the key",
  }),
  git_user: (value) => ({
    text: "the identity of commits stands under git now",
    fix: write({ git: { user: pick(value, { name: ["name", "Name"], email: ["email", "Email"] }) } }),
  }),
  "git-gate": (value) => {
    const gate = isData(value) ? value : {}
    const git: Data = {}
    if (isData(gate.user)) git.user = gate.user
    const repos = isData(gate.repos) ? Object.entries(gate.repos) : []
    if (repos.length > 0) git.repos = Object.fromEntries(repos.map(([name, repo]) => repoEntry(name, repo)))
    return { text: "repositories stand under git now", fix: write({ git }) }
  },
  ssh: (value) => {
    const entries = Array.isArray(value) ? value : isData(value) ? Object.values(value) : []
    const repos = entries.map((entry, index) => repoEntry(`repo-${index + 1}`, entry))
    return {
      text: "SSH keys stay outside of the sandbox: git goes through the gate",
      fix: write({ git: { repos: Object.fromEntries(repos) } }),
    }
  },
  tokens: (value) => proxyRoutes(value, "credentials stay outside of the sandbox: a route carries them"),
  cred_proxy: (value) => proxyRoutes(value, "credentials are added on egress routes now"),
  egress_proxy: (value) => proxyRoutes(value, "it is called egress now"),
}

/** Routes out of the shapes that credentials had: a list of routes, `{routes: [...]}`, or names of variables. */
function proxyRoutes(value: unknown, text: string): Translation {
  const list = isData(value) && Array.isArray(value.routes) ? value.routes : Array.isArray(value) ? value : []
  const routes = list.map((item) => {
    if (typeof item === "string") return routeFor(item)
    if (!isData(item)) return routeFor("NAME_OF_THE_VARIABLE")
    const { upstream, path, ...other } = item
    const entry = { host: hostOf(item.host ?? upstream ?? path), ...other }
    return translateRoute(entry)?.entry ?? entry
  })
  if (routes.length === 0 && isData(value) && !("routes" in value)) {
    routes.push(...Object.keys(value).map(routeFor))
  }
  return {
    text,
    fix: write({ egress: { routes: routes.length > 0 ? routes : [routeFor("NAME_OF_THE_VARIABLE")] } }),
  }
}

function routeFor(variable: string): Data {
  return { host: "api.example.com", auth: { scheme: "bearer", token: { env: variable } } }
}

function hostOf(value: unknown): string {
  const text = String(value ?? "api.example.com")
  return URL.canParse(text) ? new URL(text).hostname : text.replace(/^\/+/, "").replace(/\/.*$/, "")
}

function moderniseGit(value: unknown, faults: LegacyFault[]): unknown {
  if (Array.isArray(value)) {
    const repos = value.map((entry, index) => repoEntry(`repo-${index + 1}`, entry))
    faults.push({
      path: ["git"],
      text: "repositories have names now",
      fix: write({ git: { repos: Object.fromEntries(repos) } }),
    })
    return undefined
  }
  if (!isData(value) || !("remotes" in value)) return value
  const { remotes, ...rest } = value
  const entries = isData(remotes) ? Object.entries(remotes) : []
  if (entries.length === 0) {
    faults.push({
      path: ["git", "remotes"],
      text: "it is called repos now",
      fix: write({ git: { repos: {} } }),
    })
  }
  for (const [host, remote] of entries) {
    const [name, repo] = repoEntry(host.split(".")[0] ?? "repo", remote)
    const extra = isData(remote) && "ExtraHosts" in remote
    faults.push({
      path: ["git", "remotes", host],
      text: `repositories are listed by name now${extra ? "; ExtraHosts is gone, name the address in url" : ""}`,
      fix: write({ git: { repos: { [name]: repo } } }),
    })
  }
  return rest
}

/** A repository out of any of its earlier shapes; `fallback` names it where nothing else does. */
function repoEntry(fallback: string, value: unknown): [string, Data] {
  const repo = pick(value, {
    url: ["url", "Upstream", "upstream"],
    identity_file: ["identity_file", "IdentityFile", "identity"],
    known_host_key: ["known_host_key", "KnownHostKey", "host_key"],
  })
  if (isData(value) && isData(value.key) && typeof value.key.path === "string")
    repo.identity_file ??= value.key.path
  repo.url ??= "ssh://git@host/org/repo.git"
  repo.identity_file ??= "~/.ssh/id_ed25519"
  repo.known_host_key ??= "ssh-ed25519 AAAA..."
  const named = pick(value, { name: ["Name", "name"] }).name
  const name = kebabCase(String(named ?? "")) || kebabCase(fallback) || "repo"
  return [name, { url: repo.url, identity_file: repo.identity_file, known_host_key: repo.known_host_key }]
}

function moderniseEgress(value: unknown, faults: LegacyFault[]): unknown {
  if (!isData(value)) return value
  const { allowlist, dlp_action: action, log, ...rest } = value
  if ("allowlist" in value) {
    const hosts = Array.isArray(allowlist) ? allowlist.map((host) => ({ host })) : []
    faults.push({
      path: ["egress", "allowlist"],
      text: "every host has a route of its own",
      fix: write({ egress: { routes: hosts } }),
    })
  }
  if ("dlp_action" in value) {
    faults.push({
      path: ["egress", "dlp_action"],
      text: "what a match leads to is said on each route",
      fix: write({ scan: { on_match: action === "warn" ? "off" : "block" } }),
    })
  }
  if ("log" in value) {
    faults.push({
      path: ["egress", "log"],
      text: `every request is in the ledger (was: ${log})`,
      fix: "Remove the key",
    })
  }
  if (!Array.isArray(rest.routes)) return rest
  rest.routes = rest.routes.map((route, index) => {
    const translated = translateRoute(route)
    if (translated === undefined) return route
    const { entry, notes, old } = translated
    faults.push({
      path: ["egress", "routes", index],
      text: `${old.join(", ")}: an earlier spelling`,
      fix: [write([entry]), ...notes.map((note) => `(${note})`)].join("\n"),
    })
    // What is left in its place has no further fault to tell.
    return { host: isData(route) ? route.host : undefined }
  })
  return rest
}

/** Today's keys out of earlier ones; what is not there stays away. */
function pick(value: unknown, names: Record<string, string[]>): Data {
  const out: Data = {}
  if (!isData(value)) return out
  for (const [key, olds] of Object.entries(names)) {
    const old = olds.find((name) => value[name] !== undefined)
    if (old !== undefined) out[key] = value[old]
  }
  return out
}

function write(data: unknown): string {
  return `Write:\n${stringify(data, { lineWidth: 0 }).trimEnd()}`
}
