import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import {
  isCredentialHeader,
  isOverrideHeader,
  STRIPPED_HEADERS,
  stripProtocols,
  stripQuery,
  stripTarget,
} from "../../../src/policy/credentials.ts"

describe("a header that holds a credential is known", () => {
  for (const name of [
    "Authorization",
    "Proxy-Authorization",
    "X-Api-Key",
    "API-Key",
    "apikey",
    "Cookie",
    "Private-Token",
    "JOB-TOKEN",
    "X-Amz-Security-Token",
    "x-goog-api-key",
    "X-GitHub-Token",
    "Ocp-Apim-Subscription-Key",
    "DD-API-KEY",
    "Circle-Token",
    "x_api_key",
    "X_API-KEY",
    "X.Api.Key",
    "private_token",
    "DD_APPLICATION_KEY",
    "x~auth~token",
    "Some-Vendor-Api-Key",
    "acme_access_token",
    "X-Acme-Secret-Key",
    "Acme-Authorization",
  ]) {
    test(name, () => {
      expect(isCredentialHeader(name)).toBe(true)
    })
  }

  test("in any case and with any separator", () => {
    const separator = fc.constantFrom("-", "_", ".", "~", "!")
    fc.assert(
      fc.property(fc.constantFrom(...STRIPPED_HEADERS), separator, fc.nat(), (name, mark, bits) => {
        const spelled = [...name].map((c, i) => ((bits >> (i % 31)) & 1 ? c.toUpperCase() : c)).join("")
        expect(isCredentialHeader(spelled.replaceAll("-", mark))).toBe(true)
      }),
    )
  })
})

describe("an ordinary header is left alone", () => {
  for (const name of [
    "Accept",
    "Content-Type",
    "Host",
    "User-Agent",
    "anthropic-version",
    "anthropic-beta",
    "X-Stainless-Retry-Count",
    "Idempotency-Key",
    "X-CSRF-Token",
    "X-XSRF-Token",
    "X-Atlassian-Token",
    "If-None-Match",
    "Sec-WebSocket-Key",
    "X-Amz-Date",
    "X-Amz-Server-Side-Encryption-Customer-Key",
    "X-GitHub-Api-Version",
    "Surrogate-Key",
    "Git-Protocol",
    "Connection",
    "",
  ]) {
    test(JSON.stringify(name), () => {
      expect(isCredentialHeader(name)).toBe(false)
      expect(isOverrideHeader(name)).toBe(false)
    })
  }
})

test("a header that names another method, path or host is known", () => {
  for (const name of [
    "X-HTTP-Method-Override",
    "x_http_method",
    "X-Original-URL",
    "X-Rewrite-Url",
    "Forwarded",
    "X-Forwarded-Host",
    "X_HTTP_Host.Override",
    "X-Original-Path",
  ]) {
    expect(isOverrideHeader(name)).toBe(true)
  }
})

test("a WebSocket subprotocol that is a key is taken out, the others stay in order", () => {
  const key = `openai-insecure-api-key.${"k".repeat(20)}`
  expect(stripProtocols(`realtime, ${key}, openai-beta.realtime-v1`)).toBe(
    "realtime, openai-beta.realtime-v1",
  )
  expect(stripProtocols(`v4.channel.k8s.io,base64url.bearer.authorization.k8s.io.${"dG9r"}`)).toBe(
    "v4.channel.k8s.io",
  )
  expect(stripProtocols("graphql-transport-ws, mqtt")).toBe("graphql-transport-ws, mqtt")
  expect(stripProtocols(key)).toBe("")
})

describe("a credential in the query", () => {
  const table: [query: string, left: string][] = [
    ["access_token=x", ""],
    ["a=1&access_token=x", "a=1"],
    ["access_token=x&a=1", "a=1"],
    ["a=1&access_token=x&b=2", "a=1&b=2"],
    ["a=1;token=x;b=2", "a=1;b=2"],
    ["token=x&&b", "&b"],
    ["&token=x&", "&"],
    ["token", ""],
    ["api_key=x", ""],
    ["apikey=x&api-key=y&ApiKey=z", ""],
    ["accessToken=x", ""],
    ["access%5Ftoken=x", ""],
    ["access%255ftoken=x", ""],
    ["%61ccess_token=x", ""],
    ["access.token=x", ""],
    ["access+token=x", ""],
    ["+access_token=x", ""],
    ["access_token[]=x", ""],
    ["access_token%5B%5D=x", ""],
    ["ACCESS_TOKEN=x", ""],
    ["private_token=x&per_page=100", "per_page=100"],
    ["auth=x", ""],
    ["client_secret=x&client_id=y", "client_id=y"],
    [`key=AIza${"x".repeat(35)}&q=1`, "q=1"],
    ["X-Amz-Algorithm=A&X-Amz-Credential=c&X-Amz-Signature=s&X-Amz-Security-Token=t", "X-Amz-Algorithm=A"],
    ["sv=2022&sp=w&sig=abc", "sv=2022&sp=w"],
    ["AWSAccessKeyId=a&Expires=1&Signature=s", "Expires=1"],
  ]
  for (const [query, left] of table) {
    test(`${query} leaves ${left === "" ? "nothing" : left}`, () => {
      expect(stripQuery(query).query).toBe(left)
    })
  }

  test("is named by its folded name", () => {
    expect(stripQuery("a=1&Access-Token=x&api_key=y").stripped).toEqual(["accesstoken", "apikey"])
  })

  test("of a presigned link stays for downloads and goes for uploads", () => {
    const link = "X-Amz-Credential=c&X-Amz-Signature=s"
    expect(stripQuery(link, { method: "GET" }).query).toBe(link)
    expect(stripQuery(link, { method: "HEAD" }).query).toBe(link)
    expect(stripQuery(link, { method: "PUT" }).query).toBe("")
    expect(stripQuery("sp=r&sig=x&jwt=y", { method: "GET" }).query).toBe("sp=r&sig=x&jwt=y")
    expect(stripQuery("access_token=x", { method: "GET" }).query).toBe("")
  })

  test("is known by the host where its name is an ordinary one elsewhere", () => {
    expect(stripQuery("key=abc", { host: "maps.googleapis.com" }).query).toBe("")
    expect(stripQuery("key=abc", { host: "googleapis.com" }).query).toBe("")
    expect(stripQuery("key=abc", { host: "notgoogleapis.com" }).query).toBe("key=abc")
    expect(stripQuery("code=abc", { host: "app.azurewebsites.net" }).query).toBe("")
    expect(stripQuery("code=abc", { host: "example.com" }).query).toBe("code=abc")
  })
})

describe("an ordinary query is left byte for byte", () => {
  for (const query of [
    "",
    "a",
    "a=1&b=2",
    "&&a=%2e%zz&;;b",
    "key=value&keys=1",
    "code=1&state=x",
    "page_token=abc&pageToken=x&next_token=y&continuation-token=z",
    "tokens=5&max_tokens=100&tokenizer=x",
    "q=access_token&sort=author",
    "author=me&authors=x&authuser=0",
    "search=a%26token%3Db",
    "service=git-upload-pack",
    "signed=1&sigma=2&passwords=3",
    "list-type=2&prefix=a/b&encoding-type=url",
    "%E2%82%AC=1",
  ]) {
    test(JSON.stringify(query), () => {
      expect(stripQuery(query)).toEqual({ query, stripped: [] })
    })
  }

  test("whatever stands around what is taken", () => {
    const plain = fc.stringMatching(/^[b-s%=.+]{0,12}$/).filter((s) => stripQuery(s).stripped.length === 0)
    fc.assert(
      fc.property(fc.array(plain, { minLength: 1, maxLength: 5 }), fc.nat(5), (pieces, at) => {
        const kept = pieces.join("&")
        pieces.splice(at, 0, "access_token=x")
        expect(stripQuery(pieces.join("&")).query).toBe(kept)
      }),
    )
  })

  test("and nothing that is taken is left, however often it is asked", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("token", "&", ";", "=", "a", "%", "5f", "access", "_") }),
        (query) => {
          const once = stripQuery(query)
          expect(stripQuery(once.query)).toEqual({ query: once.query, stripped: [] })
        },
      ),
      { numRuns: 2000 },
    )
  })
})

test("a target loses its question mark with its last parameter only", () => {
  expect(stripTarget("/a?token=x").target).toBe("/a")
  expect(stripTarget("/a?token=x&b").target).toBe("/a?b")
  expect(stripTarget("/a?").target).toBe("/a?")
  expect(stripTarget("/a").target).toBe("/a")
  expect(stripTarget("/token=x").target).toBe("/token=x")
  expect(stripTarget("/a?b?token=x").target).toBe("/a?b?token=x")
})
