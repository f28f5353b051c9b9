import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { DENIAL_MAX_BYTES, type Denial, denial, denialBody, denialLine } from "../../../src/policy/denial.ts"
import * as denials from "../../../src/policy/denials.ts"
import { validateNarrowing } from "../../../src/policy/narrowing.ts"
import { compileRoutes, decide, decideHost, findRoute, type RequestFacts } from "../../../src/policy/route.ts"
import type { Policy, Route } from "../../../src/policy/schema.ts"
import { target, upstreamViews } from "./targets.ts"

function route(host: string, more: Partial<Route> = {}): Route {
  return { host, intercept: true, scheme: "https", private: [], origin: "manifest", ...more }
}

function policyOf(...routes: Route[]): Policy {
  return { version: 1, generation: 1, identity: "dev-k3x9a", routes, placeholders: [], host_addresses: [] }
}

function ask(routes: Route[], more: Partial<RequestFacts> = {}) {
  const request = {
    method: "GET",
    host: "api.example.com",
    port: 443,
    scheme: "https",
    target: "/",
    ...more,
  } as const
  return decide(compileRoutes(policyOf(...routes)), request)
}

/** The rule that refused, or `allowed`. */
function rule(routes: Route[], more: Partial<RequestFacts> = {}): string {
  const decision = ask(routes, more)
  return decision.allow ? "allowed" : decision.denial.rule
}

function refusal(routes: Route[], more: Partial<RequestFacts> = {}): Denial {
  const decision = ask(routes, more)
  if (decision.allow) throw new Error("was allowed")
  return decision.denial
}

const API = route("api.example.com")

describe("a host", () => {
  test("passes when a route names it, and not without one", () => {
    expect(rule([API])).toBe("allowed")
    expect(rule([])).toBe("host-not-allowed")
    expect(rule([API], { host: "evil.example.com" })).toBe("host-not-allowed")
    expect(rule([API], { host: "example.com" })).toBe("host-not-allowed")
  })

  test("has the most specific of the routes that cover it", () => {
    const table = compileRoutes(
      policyOf(
        route("*.com"),
        route("*.example.com"),
        route("*.b.example.com"),
        route("a.b.example.com"),
        API,
      ),
    )
    expect(findRoute(table, "a.b.example.com")?.host).toBe("a.b.example.com")
    expect(findRoute(table, "x.b.example.com")?.host).toBe("*.b.example.com")
    expect(findRoute(table, "y.x.b.example.com")?.host).toBe("*.b.example.com")
    expect(findRoute(table, "b.example.com")?.host).toBe("*.example.com")
    expect(findRoute(table, "example.com")?.host).toBe("*.com")
    expect(findRoute(table, "com")).toBeUndefined()
    expect(findRoute(table, "example.org")).toBeUndefined()
  })

  test("that is an address passes by its own route only", () => {
    expect(rule([route("127.0.0.1")], { host: "127.0.0.1" })).toBe("allowed")
    expect(rule([route("*.example.com")], { host: "10.0.0.1" })).toBe("host-not-allowed")
    expect(rule([route("::1")], { host: "::1" })).toBe("allowed")
    expect(rule([route("[0::1]")], { host: "::1" })).toBe("allowed")
  })

  test("is refused with the hosts that would pass", () => {
    const refused = refusal([API, route("*.example.org")], { host: "evil.com" })
    expect(refused.allowed).toContain("api.example.com, *.example.org")
    expect(refused.ask).toBe("Ask the person who runs this bottle to run: bottle routes edit dev-k3x9a")
  })
})

describe("scheme and port", () => {
  const http = route("api.example.com", { scheme: "http" })
  test("are https on 443 for every route", () => {
    expect(rule([API])).toBe("allowed")
    expect(rule([http])).toBe("allowed")
    expect(rule([API], { port: 8443 })).toBe("port-not-allowed")
    expect(rule([API], { port: 80 })).toBe("port-not-allowed")
    expect(rule([API], { port: 22 })).toBe("port-not-allowed")
  })

  test("are http on 80 where the route says http, and nowhere else", () => {
    expect(rule([http], { scheme: "http", port: 80 })).toBe("allowed")
    expect(rule([API], { scheme: "http", port: 80 })).toBe("scheme-not-allowed")
    expect(rule([http], { scheme: "http", port: 443 })).toBe("port-not-allowed")
    expect(rule([http], { scheme: "http", port: 8080 })).toBe("port-not-allowed")
    expect(rule([http], { scheme: "https", port: 80 })).toBe("port-not-allowed")
  })

  test("decide alone where the bytes are not looked at", () => {
    const table = compileRoutes(policyOf(route("api.example.com", { intercept: false })))
    expect(decideHost(table, { host: "api.example.com", port: 443, scheme: "https" }).allow).toBe(true)
    expect(decideHost(table, { host: "api.example.com", port: 22, scheme: "https" }).allow).toBe(false)
    expect(decideHost(table, { host: "example.com", port: 443, scheme: "https" }).allow).toBe(false)
  })
})

describe("a method", () => {
  test("passes when it is a known one and the route names none", () => {
    for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"]) {
      expect(rule([API], { method })).toBe("allowed")
    }
    for (const method of ["TRACE", "CONNECT", "get", "Get", "FOO", "", "GET "]) {
      expect(rule([API], { method })).toBe("method-not-allowed")
    }
  })

  test("passes when the route names it, and no other does", () => {
    const routes = [route("api.example.com", { methods: ["GET", "PURGE"] })]
    expect(rule(routes)).toBe("allowed")
    expect(rule(routes, { method: "PURGE" })).toBe("allowed")
    expect(rule(routes, { method: "POST" })).toBe("method-not-allowed")
    expect(rule(routes, { method: "HEAD" })).toBe("method-not-allowed")
    expect(refusal(routes, { method: "POST" }).allowed).toBe("methods GET, PURGE")
  })

  test("that opens tunnels or echoes credentials never passes, even when named", () => {
    const routes = [route("api.example.com", { methods: ["TRACE", "CONNECT", "GET"] })]
    expect(rule(routes, { method: "TRACE" })).toBe("method-not-allowed")
    expect(rule(routes, { method: "CONNECT" })).toBe("method-not-allowed")
  })

  test("list that is empty allows none", () => {
    expect(rule([route("api.example.com", { methods: [] })])).toBe("method-not-allowed")
  })
})

describe("a path", () => {
  const ruled = [route("api.example.com", { paths: ["/v1/", "=/health"] })]

  test("passes when a rule covers it, and is forwarded in the form that was checked", () => {
    expect(ask(ruled, { target: "/v1/messages?beta=true" })).toMatchObject({
      allow: true,
      forward: "/v1/messages?beta=true",
    })
    expect(ask(ruled, { target: "/x/../v1//a/%2e/b?c=%2e" })).toMatchObject({
      allow: true,
      forward: "/v1/a/b?c=%2e",
    })
    expect(rule(ruled, { target: "/health" })).toBe("allowed")
  })

  for (const target of [
    "/",
    "/v2/messages",
    "/v1",
    "/health/x",
    "/V1/messages",
    "/v1/../admin",
    "/v1/%2e%2e/admin",
    "/v1/%2E%2E/admin",
    "/v1/.%2e/admin",
    "/v1/a/../../admin",
    "/v1//../../admin",
    "//v2/v1/",
  ]) {
    test(`${target} is outside the rules`, () => {
      expect(rule(ruled, { target })).toBe("path-not-allowed")
    })
  }

  for (const target of [
    "/v1/..%2fadmin",
    "/v1/..%2Fadmin",
    "/v1/a%2fb",
    "/v1/%252e%252e/admin",
    "/v1/%252e%252e%252fadmin",
    "/v1/%25252e%25252e/admin",
    "/v1/%25%32%65%25%32%65/admin",
    "/v1/..;/admin",
    "/v1/..%3b/admin",
    "/v1/..\\admin",
    "/v1/..%5cadmin",
    "/v1/%c0%ae%c0%ae/admin",
    "/v1/%u002e%u002e/admin",
    "/v1/%25u002e%25u002e/admin",
    "/v1/\u0000",
    "/v1/%00",
    "*",
    "https://api.example.com/v1/",
  ]) {
    test(`${JSON.stringify(target)} has more than one reading`, () => {
      expect(rule(ruled, { target })).toBe("path-not-canonical")
    })
  }

  test("of a route without rules keeps escaped slashes, nested escapes and empty segments", () => {
    for (const target of ["/@scope%2fname", "/b/https%253A%252F%252Fx", "/web/https://x//y", "//a"]) {
      expect(ask([API], { target })).toMatchObject({ allow: true, forward: target })
    }
  })

  test("is refused with the rules that would pass", () => {
    expect(refusal(ruled, { target: "/x" }).allowed).toBe("paths /v1/..., exactly /health")
  })

  test("list that is empty allows none", () => {
    expect(rule([route("api.example.com", { paths: [] })])).toBe("path-not-allowed")
  })

  test("stays below its rule for every upstream, whatever the target", () => {
    fc.assert(
      fc.property(target, (written) => {
        const decision = ask(ruled, { target: `/v1/${written}` })
        if (!decision.allow) return
        for (const view of upstreamViews(decision.forward)) expect(`${view} `).toMatch(/^\/v1\/|^\/health $/)
      }),
      { numRuns: 3000 },
    )
  })
})

describe("a git push over HTTPS", () => {
  for (const target of [
    "/org/app.git/git-receive-pack",
    "/org/app.git/info/refs?service=git-receive-pack",
    "/org/app.git/info/refs?a=b&service=git-receive-pack",
    "/org/app.git/info/refs?SERVICE=GIT-RECEIVE-PACK",
    "/org/app.git/info/refs?service=git%2Dreceive%2dpack",
    "/org/app.git/info/refs?service=%67it-receive-pack",
    "/org/app.git/info/refs?service=git%252dreceive-pack",
    "/org/app.git/info/refs?%73ervice=git-receive-pack",
    "/org/app.git/info/refs?service=git-upload-pack;service=git-receive-pack",
    "/org/app.git/info/refs?service[]=git-receive-pack",
    "/org/app.git//info//refs?service=git-receive-pack",
    "/org/app.git/info/./refs/?service=git-receive-pack",
    "/org/app.git/info/x/../refs?service=git-receive-pack",
    "/org/app.git/info%2frefs?service=git-receive-pack",
    "/org/app.git/info/refs;x=y?service=git-receive-pack",
    "/org/app.git/Info/Refs?service=git-receive-pack",
    "/org/app.git/git-receive-pack/",
    "/org/app.git/git-receive-pack;x",
    "/org/app.git/GIT-Receive-Pack",
    "/org/app.git/%67it-receive-pack",
    "/org/app.git/git%2dreceive-pack",
    "/org/app.git%2fgit-receive-pack",
    "/org/app.git/%2567it-receive-pack",
    "/org/app.git%252fgit-receive-pack",
    "/org/app.git//git-receive-pack//",
    "/x/git-receive-pack?service=x",
  ]) {
    test(`${target} is refused on a route that allows every path`, () => {
      expect(rule([API], { target, method: "POST" })).toBe("git-push")
      expect(rule([API], { target })).toBe("git-push")
    })
  }

  for (const target of [
    "/org/app.git/info/refs?service=git-upload-pack",
    "/org/app.git/git-upload-pack",
    "/org/app.git/info/refs",
    "/docs/git-receive-pack.html",
    "/search?q=git-receive-pack",
    "/org/app/blob/main/git-receive-pack/x",
  ]) {
    test(`is not what ${target} is`, () => {
      expect(rule([API], { target })).toBe("allowed")
    })
  }

  test("is refused although the route names its path, and the text names the way that is open", () => {
    const routes = [route("api.example.com", { paths: ["/org/app.git/"], methods: ["POST"] })]
    const refused = refusal(routes, { target: "/org/app.git/git-receive-pack", method: "POST" })
    expect(refused.rule).toBe("git-push")
    expect(refused.allowed).toContain("git remote")
  })

  test("stays refused for every upstream, whatever the target", () => {
    fc.assert(
      fc.property(
        target,
        fc.constantFrom("/git-receive-pack", "%2fgit-receive-pack", "/info/refs?service=git-receive-pack"),
        (written, end) => {
          const decision = ask([API], { target: `/${written}${end}`, method: "POST" })
          if (!decision.allow) return
          const push = decision.canonical.query.includes("service=git-receive-pack")
          for (const view of upstreamViews(decision.forward)) {
            expect(view.toLowerCase()).not.toMatch(/\/git-receive-pack\/?$/)
            if (push) expect(view.toLowerCase()).not.toMatch(/\/info\/refs\/?$/)
          }
        },
      ),
      { numRuns: 3000 },
    )
  })
})

describe("a policy that cannot be enforced to the letter is not loaded", () => {
  const table: [reason: RegExp, ...routes: Route[]][] = [
    [/"exa mple": not a host name/, route("exa mple")],
    [/"\*.127.0.0.1": not a host name/, route("*.127.0.0.1")],
    [/"api.example.com": listed twice/, API, route("API.example.com.")],
    [/"\*.example.com": listed twice/, route("*.example.com"), route("*.Example.com")],
    [/"127.0.0.1": listed twice/, route("127.0.0.1"), route("0x7f.1")],
    [/path rule "v1" is not canonical/, route("a.com", { paths: ["v1"] })],
    [/path rule "\/a%2fb" is not canonical/, route("a.com", { paths: ["/a%2fb"] })],
    [/"10.0.0.1\/8" is not a CIDR range/, route("a.com", { private: ["10.0.0.1/8"] })],
    [/never goes over http/, route("a.com", { scheme: "http", auth: { scheme: "bearer", credential: "a" } })],
  ]
  for (const [reason, ...routes] of table) {
    test(String(reason), () => {
      expect(() => compileRoutes(policyOf(...routes))).toThrow(reason)
    })
  }

  test("while hosts and paths in another spelling are brought to their form", () => {
    const table = compileRoutes(policyOf(route("API.Example.com.", { paths: ["/stra\u00dfe/"] })))
    const request = {
      method: "GET",
      host: "api.example.com",
      port: 443,
      scheme: "https",
      target: "/stra%c3%9fe/1",
    } as const
    expect(decide(table, request).allow).toBe(true)
  })
})

describe("a provider's route", () => {
  const provider = { paths: ["/v1/", "=/health"], methods: ["GET", "POST"] }
  test("may be narrowed by a manifest", () => {
    expect(validateNarrowing(provider, {})).toEqual([])
    expect(
      validateNarrowing(provider, { paths: ["/v1/messages", "=/v1/models", "=/health"], methods: ["GET"] }),
    ).toEqual([])
    expect(validateNarrowing(provider, { paths: [], methods: [] })).toEqual([])
    expect(validateNarrowing({}, { paths: ["/"], methods: ["PURGE"] })).toEqual([])
  })

  test("is not widened by one", () => {
    expect(validateNarrowing(provider, { paths: ["/"] })).toEqual(['path rule "/" is outside /v1/, =/health'])
    expect(validateNarrowing(provider, { paths: ["/v1"] })).toHaveLength(1)
    expect(validateNarrowing(provider, { paths: ["/health"] })).toHaveLength(1)
    expect(validateNarrowing(provider, { paths: ["/v1/../v2/"] })).toHaveLength(1)
    expect(validateNarrowing(provider, { paths: ["/v1/%2e%2e/"] })).toHaveLength(1)
    expect(validateNarrowing(provider, { paths: ["v1"] })).toEqual(['path rule "v1" is not a path'])
    expect(validateNarrowing(provider, { methods: ["DELETE"] })).toEqual([
      "method DELETE is not among GET, POST",
    ])
    expect(validateNarrowing(provider, { intercept: false })).toHaveLength(1)
    expect(validateNarrowing(provider, { scheme: "http" })).toHaveLength(1)
  })
})

describe("every refusal", () => {
  const hostile = `\u202e${"x".repeat(5000)}\u0000\n"\\`
  const subject = { identity: "dev-k3x9a", what: denials.describeRequest(hostile, "https", hostile, hostile) }
  const all: Denial[] = [
    denials.hostNotAllowed(subject, hostile, "a.com"),
    denials.portNotAllowed(subject, 22, "https"),
    denials.schemeNotAllowed(subject, hostile),
    denials.methodNotAllowed(subject, hostile, "GET"),
    denials.pathNotAllowed(subject, hostile),
    denials.pathNotCanonical(subject),
    denials.pathAmbiguous(subject, hostile),
    denials.gitPush(subject),
    denials.privateAddress(subject, hostile, "loopback"),
    denials.privateAddress(subject, hostile, "host"),
    denials.nameNotResolved(subject, hostile, hostile),
    denials.upstreamUnreachable(subject, hostile, hostile),
    denials.upstreamCertificate(subject, hostile, hostile),
    denials.badRequest(subject, hostile),
    denials.hostMismatch(subject, hostile, hostile),
    denials.sniMismatch(subject, hostile, hostile),
    denials.sniMismatch(subject, hostile, ""),
    denials.placeholderMisused(subject, "a.com"),
    denials.credentialMissing(subject, hostile),
    denials.notLoaded({ identity: "", what: "" }),
    denials.notLoaded(subject, "bottle reload dev-k3x9a"),
    denials.tooBusy(subject, hostile),
    denials.upgradeNotAllowed(subject, hostile),
    denials.responseUndecodable(subject, hostile),
    denials.upstreamProtocol(subject, hostile),
  ]
  for (const refused of all) {
    test(`${refused.rule}: fits the schema, one line and one kilobyte, and says whom to ask or what to do`, () => {
      expect(() => denial.parse(refused)).not.toThrow()
      expect(denialLine(refused)).not.toMatch(/[\u0000-\u001f\u202e]/)
      expect(denialLine(refused).length).toBeLessThanOrEqual(480)
      const body = denialBody(refused)
      expect(Buffer.byteLength(body)).toBeLessThanOrEqual(DENIAL_MAX_BYTES)
      expect(denial.parse(JSON.parse(body)).ask).not.toBe("")
      expect(refused.why).not.toMatch(/[^.][.]$/)
    })
  }

  test("repeats no query: it may hold a credential", () => {
    const secret = "hidden-value"
    for (const target of [`/v2?access_token=${secret}`, `/v2%00?a=${secret}`, `/v2#${secret}`]) {
      const routes = [route("api.example.com", { paths: ["/v1/"] })]
      expect(JSON.stringify(refusal(routes, { target }))).not.toContain(secret)
    }
  })
})
