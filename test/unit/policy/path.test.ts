import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import {
  canonicalPath,
  canonicalPathRule,
  compilePathRule,
  matchesPath,
  type PathRule,
} from "../../../src/policy/path.ts"
import { canonicalForm, seededRandom, target, upstreamViews } from "./targets.ts"

function rules(...texts: string[]): PathRule[] {
  return texts.map((text) => {
    const rule = compilePathRule(text)
    if (rule === undefined) throw new Error(`${text} is no rule`)
    return rule
  })
}

describe("a target in canonical form is forwarded byte for byte", () => {
  for (const text of [
    "/",
    "/v1/messages",
    "/v1/messages/",
    "/v1/messages?beta=true",
    "/a?",
    "/a?x=%2e%2e/%00&y=\\",
    "/a?b?c",
    "/a;v=1/b",
    "/a:b@c!$&'()*+,;=-._~",
    "/.well-known/x",
    "/...",
    "/a/.../b",
    "/a..b/..c/d..",
    "/%20",
    "/a%2Bb%2bc",
    "/%E2%82%AC",
    "/%e2%82%ac",
    "/%3B%3f%23%5B",
    "/@scope%2fname",
    "/@scope%2Fname",
    "/100%25",
  ]) {
    test(text, () => {
      expect(canonicalPath(text)?.forward).toBe(text)
    })
  }
})

describe("a target in another spelling is brought to its canonical form", () => {
  const table: [written: string, forward: string, path?: string][] = [
    ["/a/./b", "/a/b"],
    ["/a/../b", "/b"],
    ["/a/b/..", "/a/"],
    ["/a/b/.", "/a/b/"],
    ["/..", "/"],
    ["/../../a", "/a"],
    ["/a/%2e/b", "/a/b"],
    ["/a/%2e%2e/b", "/b"],
    ["/a/%2E./b", "/b"],
    ["/a/.%2e/b", "/b"],
    ["//a", "/a"],
    ["//evil.com/a", "/evil.com/a"],
    ["/a//b///c//", "/a/b/c/"],
    ["/a//../b", "/a/b"],
    ["/a/..//b", "/b"],
    ["/%61%62c", "/abc"],
    ["/%7Euser%2D%5F", "/~user-_"],
    ["/a b".replace(" ", "%20"), "/a%20b", "/a b"],
    ["/{id}", "/%7Bid%7D", "/{id}"],
    ['/"<>^`|', "/%22%3C%3E%5E%60%7C", '/"<>^`|'],
    ["/[slug]", "/%5Bslug%5D", "/[slug]"],
    ["/%E2%82%AC/x", "/%E2%82%AC/x", "/\u20ac/x"],
    ["/100%25", "/100%25", "/100%"],
    ["/a/%2e%2e?x=%2e%2e", "/?x=%2e%2e"],
    ["/@scope%2fname", "/@scope%2fname", "/@scope/name"],
    ["/a/..%2fb", "/a/..%2fb", "/b"],
    ["/a/b%2f../c", "/a/b%2f../c", "/a/c"],
    ["/a/x%2fy/../c", "/a/c", "/a/c"],
    ["/a%2f%2fb", "/a%2f%2fb", "/a/b"],
  ]
  for (const [written, forward, path] of table) {
    test(`${written} to ${forward}`, () => {
      const canonical = canonicalPath(written)
      expect(canonical?.forward).toBe(forward)
      expect(canonical?.path).toBe(path ?? forward.replace(/\?.*/, ""))
    })
  }

  test("and keeps its empty segments where asked to, while the path that rules see has none", () => {
    const nested = canonicalPath("/web/https://example.com//a/../b", "keep")
    expect(nested?.forward).toBe("/web/https://example.com//b")
    expect(nested?.path).toBe("/web/https:/example.com/b")
    expect(canonicalPath("//a//", "keep")?.forward).toBe("//a//")
    expect(canonicalPath("//", "keep")?.forward).toBe("//")
    expect(canonicalPath("//a//", "keep")?.path).toBe("/a/")
  })

  test("and says when it holds an escaped slash or an escape of an escape", () => {
    expect(canonicalPath("/a%2fb")).toMatchObject({ encodedSlash: true, nestedEscape: false })
    expect(canonicalPath("/a%2Fb")).toMatchObject({ encodedSlash: true })
    expect(canonicalPath("/%252e%252e/a")).toMatchObject({ encodedSlash: false, nestedEscape: true })
    expect(canonicalPath("/%25%32%65")).toMatchObject({ nestedEscape: true })
    expect(canonicalPath("/%25u002e")).toMatchObject({ nestedEscape: true })
    expect(canonicalPath("/100%25")).toMatchObject({ encodedSlash: false, nestedEscape: false })
    expect(canonicalPath("/a?b=%2f%252e")).toMatchObject({ encodedSlash: false, nestedEscape: false })
  })
})

describe("a target with more than one reading is refused", () => {
  for (const text of [
    "",
    "a",
    "*",
    "?x",
    "https://example.com/",
    "example.com:443",
    "\\a",
    "/a\\b",
    "/a\\..\\b",
    "/a%5cb",
    "/a%5C..%5Cb",
    "/%",
    "/%2",
    "/%zz",
    "/%u002e",
    "/a%",
    "/%%32e",
    "/%2%65",
    "/%%32%65%%32%65/a",
    "/%00",
    "/a%00.png",
    "/%0a",
    "/%0D%0Ax",
    "/%09",
    "/%7f",
    "/%c2%85",
    "/%ff",
    "/%c0%ae%c0%ae/a",
    "/%c0%af",
    "/%e0%80%ae",
    "/%f0%80%80%ae",
    "/%ed%a0%80",
    "/%f4%90%80%80",
    "/%e2%82",
    "/a b",
    "/a\tb",
    "/a\u0000",
    "/a\r\nHost: x",
    "/\u00e9",
    "/\u20ac",
    "/a#b",
    "/a?b#c",
    "/a?b c",
    "/a?b\u0000",
    "/a?\u00e9",
    "/..;/a",
    "/v1/..;x=1/a",
    "/v1/.;/a",
    "/v1/%2e%2e;/a",
    "/v1/..%3b/a",
    "/v1/..%3B",
    "/a%2f..;%2fb",
    "/v1/..%253b/a",
  ]) {
    test(JSON.stringify(text), () => {
      expect(canonicalPath(text)).toBeUndefined()
      expect(canonicalPath(text, "keep")).toBeUndefined()
    })
  }
})

describe("path rules", () => {
  test("are prefixes of whole segments", () => {
    const v1 = rules("/v1")
    expect(matchesPath(v1, "/v1")).toBe(true)
    expect(matchesPath(v1, "/v1/")).toBe(true)
    expect(matchesPath(v1, "/v1/a")).toBe(true)
    expect(matchesPath(v1, "/v10")).toBe(false)
    expect(matchesPath(v1, "/v1;a=b")).toBe(false)
    expect(matchesPath(v1, "/V1")).toBe(false)
    expect(matchesPath(v1, "/")).toBe(false)
    const slash = rules("/v1/")
    expect(matchesPath(slash, "/v1/")).toBe(true)
    expect(matchesPath(slash, "/v1/a/b")).toBe(true)
    expect(matchesPath(slash, "/v1")).toBe(false)
    expect(matchesPath(rules("/"), "/anything")).toBe(true)
  })

  test("are exact with an equals sign in front", () => {
    const health = rules("=/health")
    expect(matchesPath(health, "/health")).toBe(true)
    expect(matchesPath(health, "/health/")).toBe(false)
    expect(matchesPath(health, "/healthy")).toBe(false)
    expect(matchesPath(rules("=/"), "/a")).toBe(false)
  })

  test("pass when any of them does, and none passes nothing", () => {
    expect(matchesPath(rules("=/a", "/b/"), "/b/c")).toBe(true)
    expect(matchesPath([], "/")).toBe(false)
  })

  test("have one canonical form, whether letters stand escaped or not", () => {
    expect(canonicalPathRule("/v1/")).toBe("/v1/")
    expect(canonicalPathRule("=/v1/../a")).toBe("=/a")
    expect(canonicalPathRule("/stra\u00dfe/")).toBe("/stra%C3%9Fe/")
    expect(canonicalPathRule("/stra%c3%9fe/")).toBe("/stra%c3%9fe/")
    expect(compilePathRule("/stra\u00dfe/")).toEqual(compilePathRule("/stra%c3%9fe/"))
    expect(compilePathRule("/a b")).toEqual({ path: "/a b", exact: false })
    expect(compilePathRule("=/100%25")).toEqual({ path: "/100%", exact: true })
  })

  test("that no request could match are refused", () => {
    for (const text of [
      "",
      "=",
      "v1",
      "*",
      "==/a",
      "/a?b",
      "/a#b",
      "/a%2fb",
      "/%252e",
      "/%zz",
      "/a\\b",
      "/\n",
      "/\ud800",
      "/..;",
    ]) {
      expect(canonicalPathRule(text)).toBeUndefined()
      expect(compilePathRule(text)).toBeUndefined()
    }
  })
})

/** What every canonical form must hold, whatever it was made from. */
function checkCanonical(written: string): void {
  for (const empty of ["collapse", "keep"] as const) {
    const canonical = canonicalPath(written, empty)
    if (canonical === undefined) continue
    expect(canonicalPath(canonical.forward, empty)).toEqual(canonical)
    expect(canonical.forward).toMatch(/^\/[\x21-\x7e]*$/)
    expect(canonical.path).toMatch(/^\//)
    expect(canonical.path.split("/").filter((s) => s === "." || s === "..")).toEqual([])
    if (empty === "collapse") expect(canonical.path).not.toContain("//")
    if (!canonical.encodedSlash && empty === "collapse") {
      expect(canonicalForm(canonical.forward)).toBe(canonical.path)
    }
    // The query is no part of the decision and is not touched.
    const mark = written.indexOf("?")
    expect(canonical.query).toBe(mark === -1 ? "" : written.slice(mark + 1))
  }
}

/** Whatever an upstream does with what is forwarded, it stays below the rule. */
function checkConfined(written: string): void {
  const canonical = canonicalPath(written)
  if (canonical === undefined || canonical.encodedSlash || canonical.nestedEscape) return
  if (!matchesPath(rules("/v1/"), canonical.path)) return
  for (const view of upstreamViews(canonical.forward)) {
    if (!view.startsWith("/v1/"))
      throw new Error(`${written} was forwarded as ${canonical.forward}, seen as ${view}`)
  }
}

describe("for any target", () => {
  test("the canonical form of what is forwarded is itself, and plain", () => {
    fc.assert(fc.property(target, checkCanonical), { numRuns: 5000 })
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true }), (url) =>
        checkCanonical(url.slice(url.indexOf("/", 8))),
      ),
    )
  })

  test("a match of a prefix rule stays below it, whatever the upstream decodes, merges or cuts", () => {
    fc.assert(
      fc.property(target, (written) => checkConfined(`/v1/${written}`)),
      { numRuns: 5000 },
    )
    fc.assert(fc.property(target, checkConfined), { numRuns: 5000 })
  })

  test("the upstreams of that test do leave the prefix when the target is not canonical", () => {
    for (const text of [
      "/v1/../a",
      "/v1/%2e%2e/a",
      "/v1/%252e%252e/a",
      "/v1/..;/a",
      "/v1/..%2fa",
      "/v1/..\\a",
    ]) {
      expect(upstreamViews(text).some((view) => !view.startsWith("/v1/"))).toBe(true)
    }
  })

  test("made of random bytes, 30,000 times from a fixed seed, both hold", () => {
    const random = seededRandom(0x5eed)
    const pieces =
      "/|.|..|%2e|%2E|%2f|%5c|%25|%|;|//|\\|v1|a|A|?|#|=|&|%00|%c0%ae|%e2%82%ac|~|@|%32|%65|%u002e| ".split(
        "|",
      )
    for (let i = 0; i < 30_000; i++) {
      let text = random() < 0.5 ? "/v1/" : "/"
      for (let n = Math.floor(random() * 10); n > 0; n--) text += pieces[Math.floor(random() * pieces.length)]
      checkCanonical(text)
      checkConfined(text)
    }
  })
})
