/** Which proxies of the host's environment a gateway can leave through. */
import { expect, test } from "bun:test"
import { checkProxyReach, hostProxy } from "../../src/session/host-facts.ts"
import { errorOf } from "../fixtures/manifest-home.ts"

const found = (url: string) => hostProxy({ HTTPS_PROXY: url })!

test.each(["http://127.0.0.1:3128", "http://localhost:3128", "http://[::1]:3128", "127.8.8.8:3128"])(
  "a proxy on the machine's loopback serves a gateway on the machine's network and no other: %s",
  (url) => {
    checkProxyReach(found(url), "host")
    const error = errorOf(() => checkProxyReach(found(url), "own"))
    expect(error).toMatchObject({ what: "The proxy in HTTPS_PROXY cannot be used" })
    expect(error.why).toContain("loopback")
  },
)

test("a proxy elsewhere serves every gateway", () => {
  for (const network of ["host", "own"] as const) checkProxyReach(found("http://proxy.example:3128"), network)
  expect(found("http://proxy.example:3128").onLoopback).toBe(false)
})
