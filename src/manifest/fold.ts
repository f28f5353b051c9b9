/** Folds a bottle and what it extends into one. */
import { dirname } from "node:path"
import { absolutePath } from "../runtime/home.ts"
import { keyText } from "./fault.ts"
import { envValueOf, type Layer } from "./layer.ts"
import type { Bottle, BottleRoute, EnvValue, GitRepo, GitUser, Limits, ProviderName } from "./types.ts"

/**
 * One bottle out of its layers, the bottle's own last. Each layer adds to what is there: `env`, `git.user` and
 * `limits` per key, routes per host and repositories per name (each entry whole), anything else replaces. A key
 * without a value, an empty map or an empty list clears what the layers before it said.
 */
export function fold(layers: readonly [Layer, ...Layer[]], userHome: string): Bottle {
  const own = layers.at(-1)!
  const env = new Map<string, EnvValue>()
  const routes = new Map<string, BottleRoute>()
  const repos = new Map<string, GitRepo>()
  const user: GitUser = {}
  const limits: Limits = {}
  const at: Record<string, string> = {}
  const bottle: Bottle = {
    name: own.name,
    file: own.file,
    lineage: layers.map((layer) => layer.name),
    env: {},
    routes: [],
    git: { user, repos: [] },
    supervise: false,
    provider: { template: "claude", dockerfile: "", forwardHostCredentials: false, command: [] },
    gateway: "native",
    repoAgents: false,
    limits,
    terminal: { allow: [] },
    at,
  }
  for (const layer of layers) {
    const { says } = layer
    const mark = (...path: string[]) => {
      at[keyText(path)] = `${layer.file}:${layer.lineOf(path)}`
    }

    if (clears(says.env)) env.clear()
    for (const [name, value] of Object.entries(says.env ?? {})) {
      if (value === null) env.delete(name)
      else env.set(name, envValueOf(value))
      mark("env", name)
    }

    if (clears(says.egress) || clears(says.egress?.routes)) routes.clear()
    for (const route of layer.routes) routes.set(route.host, route)

    if (clears(says.git)) clearAll(user, repos)
    foldUser(user, says.git?.user)
    if (clears(says.git?.repos)) repos.clear()
    for (const repo of layer.repos) {
      repos.set(repo.name, repo)
      mark("git", "repos", repo.name)
    }

    foldProvider(bottle, layer, userHome, mark)
    foldLimits(limits, says.limits)
    if (clears(says.terminal)) bottle.terminal.allow = []
    else if (says.terminal?.allow !== undefined) bottle.terminal.allow = [...new Set(says.terminal.allow)]
    if (says.terminal !== undefined) mark("terminal")

    if (says.supervise !== undefined) bottle.supervise = says.supervise ?? false
    if (says.gateway !== undefined) bottle.gateway = says.gateway ?? "native"
    if (says.repo_agents !== undefined) bottle.repoAgents = says.repo_agents ?? false
    if (says.backend === null) delete bottle.backend
    else if (says.backend !== undefined) bottle.backend = says.backend
    for (const key of ["supervise", "gateway", "repo_agents", "backend"] as const) {
      if (says[key] !== undefined) mark(key)
    }
  }
  bottle.env = Object.fromEntries(env)
  bottle.routes = [...routes.values()]
  bottle.git.repos = [...repos.values()]
  return bottle
}

/** True for a key that is there and holds nothing. */
function clears(value: object | null | undefined): boolean {
  return value === null || (value !== undefined && Object.keys(value).length === 0)
}

function clearAll(user: GitUser, repos: Map<string, GitRepo>): void {
  delete user.name
  delete user.email
  repos.clear()
}

function foldUser(
  user: GitUser,
  says: { name?: string | null | undefined; email?: string | null | undefined } | null | undefined,
): void {
  if (clears(says)) clearAll(user, new Map())
  for (const key of ["name", "email"] as const) {
    const value = says?.[key]
    if (value === null || value === "") delete user[key]
    else if (value !== undefined) user[key] = value
  }
}

function foldLimits(limits: Limits, says: Layer["says"]["limits"]): void {
  if (clears(says)) {
    delete limits.memory
    delete limits.pids
    delete limits.cpus
  }
  if (says?.memory === null) delete limits.memory
  else if (says?.memory !== undefined) limits.memory = says.memory
  for (const key of ["pids", "cpus"] as const) {
    const value = says?.[key]
    if (value === null) delete limits[key]
    else if (value !== undefined) limits[key] = value
  }
}

const DEFAULT_TEMPLATE: ProviderName = "claude"

function foldProvider(
  bottle: Bottle,
  layer: Layer,
  userHome: string,
  mark: (...path: string[]) => void,
): void {
  const says = layer.says.agent_provider
  if (says === undefined) return
  const provider = bottle.provider
  if (clears(says)) {
    bottle.provider = {
      template: DEFAULT_TEMPLATE,
      dockerfile: "",
      forwardHostCredentials: false,
      command: [],
    }
    return
  }
  if (says?.template !== undefined) {
    const template = says.template ?? DEFAULT_TEMPLATE
    // A command belongs to its template: whoever chooses another one does not have to clear it.
    if (template !== provider.template) provider.command = []
    provider.template = template
  }
  if (says?.dockerfile !== undefined) {
    const path = says.dockerfile ?? ""
    provider.dockerfile = path === "" ? "" : absolutePath(path, dirname(layer.file), userHome)
  }
  if (says?.forward_host_credentials !== undefined) {
    provider.forwardHostCredentials = says.forward_host_credentials ?? false
  }
  if (says?.command !== undefined) provider.command = says.command ?? []
  for (const key of Object.keys(says ?? {})) mark("agent_provider", key)
}
