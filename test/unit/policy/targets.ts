/** Request targets as attackers write them, and what servers of many kinds make of a target. */
import fc from "fast-check"

/** Pieces from which every known way around a path rule is built. */
const piece = fc.oneof(
  fc.constantFrom(
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2E",
    "%2e%2e",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    "%25",
    "%252e",
    "%252f",
  ),
  fc.constantFrom(
    "%25252e",
    "%25%32%65",
    "%u002e",
    "%25u002e",
    ";",
    "%3b",
    "%253b",
    "..;",
    "..;a=b",
    "%00",
    "%20",
  ),
  fc.constantFrom(
    "%c0%ae",
    "%e2%82%ac",
    "%ef%bc%8e",
    "v1",
    "a",
    "admin",
    "~",
    "@",
    "{",
    "%41",
    "%2B",
    "?",
    "?a=..",
    "=",
  ),
  fc.constantFrom(
    "git-receive-pack",
    "info",
    "refs",
    "service",
    "GIT-Receive-Pack",
    "git%2dreceive-pack",
    "&",
  ),
  fc.string({ unit: "binary-ascii", maxLength: 3 }),
)

/** A target of up to a dozen pieces, mostly in origin form. */
export const target = fc
  .tuple(fc.constantFrom("/", "/", "/", ""), fc.array(piece, { maxLength: 12 }))
  .map(([start, pieces]) => start + pieces.join(""))

/** Dot segments and empty segments resolved, without any idea of escapes. */
function resolve(path: string): string {
  const out: string[] = []
  const segments = path.split("/").slice(1)
  for (const [i, segment] of segments.entries()) {
    if (segment === "..") out.pop()
    if (segment !== "" && segment !== "." && segment !== "..") out.push(segment)
    else if (i === segments.length - 1) out.push("")
  }
  return `/${out.join("/")}`
}

function decode(text: string): string {
  return text
    .replace(/%u([0-9a-f]{4})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/**
 * The paths that upstreams may see behind a target: none, one, two or three rounds of decoding, before or after dots
 * are resolved, `;params` cut or not, backslashes taken for slashes or not, and what the URL Standard's parser says.
 */
export function upstreamViews(written: string): string[] {
  let text = written.replace(/[?#].*/s, "")
  const views = new Set<string>([new URL(text.replace(/^\/+/, "/"), "https://example.com").pathname])
  for (let round = 0; round < 4; round++) {
    for (const cut of [text, text.replace(/;[^/]*/g, ""), text.replace(/\\/g, "/")]) {
      views.add(resolve(cut))
      views.add(resolve(decode(resolve(cut))))
    }
    text = decode(text)
  }
  return [...views]
}

/** Decoded and resolved path of a target that holds no escaped slash: the plain definition of the canonical form. */
export function canonicalForm(written: string): string {
  return resolve(decodeURIComponent(written.replace(/\?.*/s, "")))
}

/** Numbers from 0 to 1, the same for the same seed (xorshift32). */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
