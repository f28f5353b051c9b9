/** Values that manifests may hold and that this version does not serve yet. */
import { BottleError } from "../runtime/error.ts"
import type { Bottle } from "./types.ts"

interface Unserved {
  /** The value as it is written */
  value: string
  /** Key in `Bottle.at`, or a place itself */
  at: string
  /** What to do instead */
  next: string
}

/**
 * The error for a bottle that relies on something this version does not have; undefined when all of it is served.
 * A gate that a manifest asks for and that is not there must stop the start, so promised scanning counts too.
 */
export function unserved(bottle: Bottle): BottleError | undefined {
  const found = [...provider(bottle), ...places(bottle), ...gates(bottle)]
  if (found.length === 0) return undefined
  return new BottleError({
    what: `The bottle "${bottle.name}" asks for something this version of bottle knows but does not serve yet`,
    why: found.map(({ value, at }) => `${value} (${at})`).join("\n"),
    next: found.map(({ next }) => next).join("\n"),
  })
}

/** Throws that error, if there is one. */
export function checkServed(bottle: Bottle): void {
  const error = unserved(bottle)
  if (error !== undefined) throw error
}

function provider(bottle: Bottle): Unserved[] {
  const { template, forwardHostCredentials } = bottle.provider
  const found: Unserved[] = []
  if (template === "codex") {
    found.push({
      value: `agent_provider.template: ${template}`,
      at: placeOf(bottle, "agent_provider.template"),
      next: "Use agent_provider: { template: claude }, or template: command with a command of your own",
    })
  }
  if (forwardHostCredentials) {
    found.push({
      value: "agent_provider.forward_host_credentials: true",
      at: placeOf(bottle, "agent_provider.forward_host_credentials"),
      next: "Remove forward_host_credentials and give the route a token",
    })
  }
  return found
}

function places(bottle: Bottle): Unserved[] {
  const found: Unserved[] = []
  if (bottle.backend === "smolmachines") {
    found.push({
      value: `backend: ${bottle.backend}`,
      at: placeOf(bottle, "backend"),
      next: "Use backend: docker or backend: bubblewrap",
    })
  }
  if (bottle.gateway !== "native") {
    found.push({
      value: `gateway: ${bottle.gateway}`,
      at: placeOf(bottle, "gateway"),
      next: "Use gateway: native",
    })
  }
  return found
}

function gates(bottle: Bottle): Unserved[] {
  const found: Unserved[] = []
  for (const repo of bottle.git.repos) {
    found.push({
      value: `git.repos.${repo.name}`,
      at: placeOf(bottle, `git.repos.${repo.name}`),
      next: "Remove git.repos: the agent can commit in its workspace, and you push from there",
    })
  }
  if (bottle.supervise) {
    found.push({
      value: "supervise: true",
      at: placeOf(bottle, "supervise"),
      next: "Write supervise: false, and change a running bottle's rules with `bottle routes edit`",
    })
  }
  for (const route of bottle.routes) {
    if (route.scan === undefined || route.scan.on_match === "off") continue
    found.push({
      value: `scan: { on_match: ${route.scan.on_match} } on ${route.host}`,
      at: route.at,
      next: `Remove scan from the route of ${route.host}: nothing is scanned yet`,
    })
  }
  return found
}

function placeOf(bottle: Bottle, key: string): string {
  return bottle.at[key] ?? bottle.file
}
