import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import {
  canonicalHost,
  canonicalHostRule,
  hostInUrl,
  matchesHost,
  splitAuthority,
} from "../../../src/policy/host.ts"

describe("a host in another spelling is brought to one form", () => {
  const table: [written: string, canonical: string][] = [
    ["example.com", "example.com"],
    ["EXAMPLE.Com", "example.com"],
    ["example.com.", "example.com"],
    ["Example.COM.", "example.com"],
    ["a_b.example.com", "a_b.example.com"],
    ["_dmarc.example.com", "_dmarc.example.com"],
    ["localhost", "localhost"],
    ["m\u00fcnchen.example", "xn--mnchen-3ya.example"],
    ["M\u00dcNCHEN.example", "xn--mnchen-3ya.example"],
    ["xn--mnchen-3ya.example", "xn--mnchen-3ya.example"],
    ["XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"],
    ["\u24d4xample.com", "example.com"],
    ["example\u3002com", "example.com"],
    ["example\uff0ecom\u3002", "example.com"],
    ["\u212aernel.org", "kernel.org"],
    ["1e3.com", "1e3.com"],
    ["3com.com", "3com.com"],
    ["7zip", "7zip"],
    ["127.0.0.1", "127.0.0.1"],
    ["127.0.0.1.", "127.0.0.1"],
    ["127.1", "127.0.0.1"],
    ["127.0.1", "127.0.0.1"],
    ["2130706433", "127.0.0.1"],
    ["0x7f000001", "127.0.0.1"],
    ["0X7F.0.0.1", "127.0.0.1"],
    ["0x7f.1", "127.0.0.1"],
    ["0177.0.0.01", "127.0.0.1"],
    ["00000177.0.0.1", "127.0.0.1"],
    ["017700000001", "127.0.0.1"],
    ["169.254.43518", "169.254.169.254"],
    ["0xa9fea9fe", "169.254.169.254"],
    ["0", "0.0.0.0"],
    ["0x", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["\u2460\u2461\u2466.0.0.1", "127.0.0.1"],
    ["\uff11\uff12\uff17.1", "127.0.0.1"],
    ["[::1]", "::1"],
    ["::1", "::1"],
    ["[0:0:0:0:0:0:0:1]", "::1"],
    ["[0000:0000::0001]", "::1"],
    ["[2001:DB8::A]", "2001:db8::a"],
    ["[2001:db8:0:0:1:0:0:1]", "2001:db8::1:0:0:1"],
    ["[2001:0:0:1:0:0:0:1]", "2001:0:0:1::1"],
    ["[1:0:2:3:4:5:6:7]", "1:0:2:3:4:5:6:7"],
    ["[::ffff:7f00:1]", "::ffff:127.0.0.1"],
    ["[::FFFF:127.0.0.1]", "::ffff:127.0.0.1"],
    ["[64:ff9b::127.0.0.1]", "64:ff9b::7f00:1"],
    ["[::]", "::"],
    ["[1::]", "1::"],
  ]
  for (const [written, canonical] of table) {
    test(`${written} is ${canonical}`, () => {
      expect(canonicalHost(written)).toBe(canonical)
    })
  }

  test("a name of 253 characters with labels of 63 is accepted, one more is not", () => {
    const label = "a".repeat(63)
    const name = `${label}.${label}.${label}.${"a".repeat(61)}`
    expect(canonicalHost(name)).toBe(name)
    expect(canonicalHost(`${name}.`)).toBe(name)
    expect(canonicalHost(`${name}a`)).toBeUndefined()
    expect(canonicalHost(`${label}a.com`)).toBeUndefined()
  })
})

describe("what is no host is refused", () => {
  const table = [
    "",
    ".",
    "..",
    ".example.com",
    "example..com",
    "example.com..",
    "user@example.com",
    "user:pw@example.com",
    "example.com:443",
    "example.com/",
    "example.com?x",
    "example.com#x",
    "example.com\\x",
    "ex%61mple.com",
    "127.0.0.1%2f",
    " example.com",
    "example.com ",
    "exa mple.com",
    "exam\tple.com",
    "example.com\r\n",
    "exam\u0000ple.com",
    "exam\u00a0ple.com",
    "m\u00fcnchen.exam\tple",
    "m\u00fcnchen.%65xample",
    "m\u00fcnchen.example/",
    "m\u00fcnchen.example:443",
    "m\u00fcnchen@example",
    "m\u00fcnchen.example?x",
    "m\u00fcnchen.example#x",
    "m\u00fcnchen\\example",
    "m\u00fcnchen\uff0fexample",
    "m\u00fcnchen\uff20example",
    "exam\uff05\uff16\uff11ple.com",
    "\uff0a.example.com",
    "\uff3b::1\uff3d",
    "\u202eexample.com",
    "\u2100.com",
    "xn--a.com",
    "xn--.com",
    "*.example.com",
    "*",
    "example.com,evil.com",
    "a|b",
    "a^b",
    "a<b",
    "256.0.0.1",
    "1.2.3.256",
    "1.2.3.4.5",
    "08.0.0.1",
    "0x7g.1",
    "4294967296",
    "0x100000000",
    "foo.0x4",
    "foo.1",
    "1..1",
    "[127.0.0.1]",
    "[::1",
    "::1]",
    "[]",
    "[:]",
    "[::1%25eth0]",
    "[fe80::1%eth0]",
    "fe80::1%eth0",
    "[1::2::3]",
    "[1:2:3:4:5:6:7]",
    "[1:2:3:4:5:6:7:8:9]",
    "[1:2:3:4:5:6:7:8::]",
    "[:1:2:3:4:5:6:7]",
    "[12345::]",
    "[::1.2.3]",
    "[::1.2.3.04]",
    "[1.2.3.4::]",
    "[::g]",
    `${"\u24d0".repeat(2000)}.com`,
  ]
  for (const text of table) {
    test(JSON.stringify(text).slice(0, 60), () => {
      expect(canonicalHost(text)).toBeUndefined()
    })
  }
})

describe("canonical hosts", () => {
  const label = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9_-]{0,12}$/)
  const written = fc.oneof(
    fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join(".")),
    fc.ipV4Extended(),
    fc.ipV6().map((ip) => `[${ip}]`),
    fc.domain(),
    fc.string({ maxLength: 20 }),
    fc.string({ unit: "binary", maxLength: 20 }),
    fc.string({
      unit: fc.constantFrom("0", "x", "1", "7", ".", "f", ":", "[", "]", "-", "a"),
      maxLength: 24,
    }),
  )

  test("are their own canonical form, lower-case ASCII", () => {
    fc.assert(
      fc.property(written, (text) => {
        const host = canonicalHost(text)
        if (host === undefined) return
        expect(canonicalHost(host)).toBe(host)
        expect(host).toMatch(/^[a-z0-9._:-]+$/)
        expect(host.length).toBeLessThanOrEqual(253)
        expect(splitAuthority(`${hostInUrl(host)}:443`)).toEqual({ host, port: 443 })
      }),
      { numRuns: 5000 },
    )
  })

  test("are what the URL Standard's parser makes of the same text, or the text is refused", () => {
    fc.assert(
      fc.property(written, (text) => {
        const host = canonicalHost(text)
        if (host === undefined || text.includes(":")) return
        expect(new URL(`https://${text}/`).hostname.replace(/\.$/, "")).toBe(host)
      }),
      { numRuns: 5000 },
    )
  })
})

describe("an authority", () => {
  test("is split into host and port", () => {
    expect(splitAuthority("Example.com:443")).toEqual({ host: "example.com", port: 443 })
    expect(splitAuthority("example.com")).toEqual({ host: "example.com" })
    expect(splitAuthority("example.com.:8443")).toEqual({ host: "example.com", port: 8443 })
    expect(splitAuthority("[::1]:443")).toEqual({ host: "::1", port: 443 })
    expect(splitAuthority("[0::1]")).toEqual({ host: "::1" })
    expect(splitAuthority("0x7f.1:80")).toEqual({ host: "127.0.0.1", port: 80 })
    expect(splitAuthority("example.com:65535")).toEqual({ host: "example.com", port: 65535 })
  })

  const refused = [
    "",
    ":443",
    "example.com:",
    "example.com:0",
    "example.com:65536",
    "example.com:443443",
    "example.com:0443",
    "example.com:+443",
    "example.com:4 43",
    "example.com:443 ",
    "example.com:443:443",
    "example.com:80@evil.com:443",
    "user@example.com:443",
    "::1:443",
    "::1",
    "[::1",
    "[::1]443",
    "[::1]:",
    "[::1]x:443",
    "x[::1]:443",
    "[example.com]:443",
    "example.com:443/",
    "https://example.com",
    "example.com:\u0661",
  ]
  for (const text of refused) {
    test(`${JSON.stringify(text)} is refused`, () => {
      expect(splitAuthority(text)).toBeUndefined()
    })
  }
})

describe("a host rule", () => {
  test("covers its own host alone when it is exact", () => {
    expect(matchesHost("example.com", "example.com")).toBe(true)
    expect(matchesHost("example.com", "www.example.com")).toBe(false)
    expect(matchesHost("example.com", "badexample.com")).toBe(false)
  })

  test("with a star covers names one or more labels below, never the apex or a look-alike", () => {
    expect(matchesHost("*.example.com", "a.example.com")).toBe(true)
    expect(matchesHost("*.example.com", "a.b.example.com")).toBe(true)
    expect(matchesHost("*.example.com", "example.com")).toBe(false)
    expect(matchesHost("*.example.com", "badexample.com")).toBe(false)
    expect(matchesHost("*.example.com", "a.example.com.evil.org")).toBe(false)
  })

  test("with a star covers no address", () => {
    expect(matchesHost("*.0.0.1", "127.0.0.1")).toBe(false)
    expect(matchesHost("*.1", "::ffff:127.0.0.1")).toBe(false)
  })

  test("has a canonical form too", () => {
    expect(canonicalHostRule("*.Example.COM.")).toBe("*.example.com")
    expect(canonicalHostRule("*.m\u00fcnchen.example")).toBe("*.xn--mnchen-3ya.example")
    expect(canonicalHostRule("Example.com")).toBe("example.com")
    for (const text of ["*.", "*", "*.*.com", "a.*.com", "*.127.0.0.1", "*.1", "*.[::1]", "**.example.com"]) {
      expect(canonicalHostRule(text)).toBeUndefined()
    }
  })
})
