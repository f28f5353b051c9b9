/** A provider owns the routes of its hosts; a manifest may narrow them, never widen them. */
import { canonicalPathRule, compilePathRule, matchesPath } from "./path.ts"

/** The part of a route that narrowing is about. */
export interface Extent {
  /** Path rules as written; absent means every path */
  paths?: readonly string[]
  /** Upper-case methods; absent means the default ones */
  methods?: readonly string[]
  /** False would let all paths and methods pass unseen */
  intercept?: boolean
  /** `http` would open port 80 in the clear */
  scheme?: "https" | "http"
}

/**
 * Says what a manifest's route allows beyond the provider's, one sentence each; an empty list means that it only
 * narrows. What the manifest leaves out stays as the provider has it.
 */
export function validateNarrowing(provider: Extent, manifest: Extent): string[] {
  const faults: string[] = []
  if (provider.paths !== undefined) {
    for (const rule of manifest.paths ?? []) {
      if (canonicalPathRule(rule) === undefined) faults.push(`path rule "${rule}" is not a path`)
      else if (!provider.paths.some((outer) => isWithin(outer, rule))) {
        faults.push(`path rule "${rule}" is outside ${provider.paths.join(", ")}`)
      }
    }
  }
  if (provider.methods !== undefined) {
    for (const method of manifest.methods ?? []) {
      if (!provider.methods.includes(method)) {
        faults.push(`method ${method} is not among ${provider.methods.join(", ")}`)
      }
    }
  }
  if (manifest.intercept === false && provider.intercept !== false) {
    faults.push("intercept: false would let every path and method pass unseen")
  }
  if (manifest.scheme === "http" && provider.scheme !== "http") {
    faults.push("scheme: http would open port 80 in the clear")
  }
  return faults
}

/** Whether all paths that `inner` covers are covered by `outer`, both rules as written. */
function isWithin(outer: string, inner: string): boolean {
  const wide = compilePathRule(outer)
  const narrow = compilePathRule(inner)
  if (wide === undefined || narrow === undefined) return false
  if (wide.exact) return narrow.exact && narrow.path === wide.path
  return matchesPath([wide], narrow.path)
}
