/** Pushes over HTTPS, refused on every route: they would pass the scan of git-gate by. */
import { type CanonicalPath, decodeAscii, deepestPath } from "./path.ts"

/**
 * Whether a request belongs to a push by git's smart HTTP protocol (gitprotocol-http(5)): the path ends in
 * `/git-receive-pack`, or in `/info/refs` with `git-receive-pack` anywhere in the query. Looked at in lower case and
 * after all decoding, as some forges ignore case and some front ends decode twice. `unclear` when the path does not
 * settle.
 */
export function isGitPush(canonical: CanonicalPath): "yes" | "no" | "unclear" {
  const path = canonical.nestedEscape ? deepestPath(canonical) : canonical.path.toLowerCase()
  if (path === undefined) return "unclear"
  // `;params` and a slash at the end name the same resource on many servers.
  const end = path.replace(/;[^/]*/g, "").replace(/\/+$/, "")
  if (end.endsWith("/git-receive-pack")) return "yes"
  if (!end.endsWith("/info/refs")) return "no"
  return settled(canonical.query).includes("git-receive-pack") ? "yes" : "no"
}

/** The query after up to four rounds of decoding, lower-case. */
function settled(query: string): string {
  let text = query
  for (let round = 0; round < 4 && text.includes("%"); round++) text = decodeAscii(text)
  return text.toLowerCase()
}
