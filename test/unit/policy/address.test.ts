import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import {
  type AddressKind,
  type Cidr,
  classifyAddress,
  mayDial,
  parseCidr,
} from "../../../src/policy/address.ts"

function ranges(...texts: string[]): Cidr[] {
  return texts.map((text) => {
    const range = parseCidr(text)
    if (range === undefined) throw new Error(`${text} is no range`)
    return range
  })
}

const NOTHING = { private: [], hostAddresses: new Set<string>() }
/** A route that opens as much as can be written down. */
const EVERYTHING = { private: ranges("0.0.0.0/0", "::/0"), hostAddresses: new Set<string>() }

describe("an address is classified", () => {
  const table: [address: string, kind: AddressKind, inner?: string][] = [
    ["1.1.1.1", "public"],
    ["223.255.255.255", "public"],
    ["0.0.0.0", "unspecified"],
    ["0.1.2.3", "unspecified"],
    ["9.255.255.255", "public"],
    ["10.0.0.0", "private"],
    ["10.255.255.255", "private"],
    ["11.0.0.0", "public"],
    ["172.15.255.255", "public"],
    ["172.16.0.0", "private"],
    ["172.31.255.255", "private"],
    ["172.32.0.0", "public"],
    ["192.168.0.1", "private"],
    ["192.169.0.0", "public"],
    ["100.63.255.255", "public"],
    ["100.64.0.0", "cgnat"],
    ["100.127.255.255", "cgnat"],
    ["100.128.0.0", "public"],
    ["100.100.100.200", "metadata"],
    ["127.0.0.1", "loopback"],
    ["127.255.255.255", "loopback"],
    ["128.0.0.0", "public"],
    ["169.254.0.1", "link-local"],
    ["169.254.169.254", "metadata"],
    ["169.254.170.2", "metadata"],
    ["168.63.129.16", "metadata"],
    ["168.63.129.17", "public"],
    ["192.0.0.192", "metadata"],
    ["192.0.0.8", "reserved"],
    ["192.0.2.1", "documentation"],
    ["198.51.100.1", "documentation"],
    ["203.0.113.255", "documentation"],
    ["198.17.255.255", "public"],
    ["198.18.0.0", "benchmark"],
    ["198.19.255.255", "benchmark"],
    ["198.20.0.0", "public"],
    ["192.88.99.1", "6to4"],
    ["224.0.0.1", "multicast"],
    ["239.255.255.255", "multicast"],
    ["240.0.0.1", "reserved"],
    ["255.255.255.255", "reserved"],
    ["2606:4700::1111", "public"],
    ["::", "unspecified"],
    ["::1", "loopback"],
    ["0:0:0:0:0:0:0:1", "loopback"],
    ["::7f00:1", "mapped", "127.0.0.1"],
    ["::127.0.0.1", "mapped", "127.0.0.1"],
    ["::ffff:127.0.0.1", "mapped", "127.0.0.1"],
    ["::ffff:a9fe:a9fe", "mapped", "169.254.169.254"],
    ["::FFFF:8.8.8.8", "mapped", "8.8.8.8"],
    ["::ffff:0:10.0.0.1", "mapped", "10.0.0.1"],
    ["64:ff9b::10.0.0.1", "nat64", "10.0.0.1"],
    ["64:ff9b::a9fe:a9fe", "nat64", "169.254.169.254"],
    ["64:ff9b:1::1", "nat64"],
    ["64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "nat64"],
    ["64:ff9b:2::1", "reserved"],
    ["2002:7f00:1::", "6to4", "127.0.0.1"],
    ["2002:a9fe:a9fe::1", "6to4", "169.254.169.254"],
    ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "teredo", "192.0.2.45"],
    ["2001:2::1", "benchmark"],
    ["2001:10::1", "reserved"],
    ["2001:20::1", "reserved"],
    ["2001:1ff:ffff::1", "reserved"],
    ["2001:200::1", "public"],
    ["2001:db8::1", "documentation"],
    ["3fff:fff::1", "documentation"],
    ["3fff:1000::1", "public"],
    ["5f00::1", "reserved"],
    ["100::1", "reserved"],
    ["100:0:0:1::1", "reserved"],
    ["4000::1", "reserved"],
    ["fc00::1", "private"],
    ["fdff:ffff::1", "private"],
    ["fd00:ec2::254", "metadata"],
    ["fd00:ec2::253", "private"],
    ["fd20:ce::254", "metadata"],
    ["fe80::1", "link-local"],
    ["fe80::a9fe:a9fe", "link-local"],
    ["febf::1", "link-local"],
    ["fec0::1", "reserved"],
    ["ff02::1", "multicast"],
    ["ffff::1", "multicast"],
    ["fe80::1%eth0", "invalid"],
    ["127.1", "invalid"],
    ["0177.0.0.1", "invalid"],
    ["[::1]", "invalid"],
    ["localhost", "invalid"],
    ["", "invalid"],
  ]
  for (const [address, kind, inner] of table) {
    test(`${address} as ${kind}${inner === undefined ? "" : ` around ${inner}`}`, () => {
      expect(classifyAddress(address)).toEqual(inner === undefined ? { kind } : { kind, inner })
    })
  }
})

describe("what may be dialled", () => {
  test("without private ranges is public and nothing else", () => {
    expect(mayDial("1.1.1.1", NOTHING)).toEqual({ ok: true })
    expect(mayDial("2606:4700::1111", NOTHING)).toEqual({ ok: true })
    for (const [address, kind] of [
      ["127.0.0.1", "loopback"],
      ["10.1.2.3", "private"],
      ["fd12::1", "private"],
      ["100.64.0.1", "cgnat"],
      ["192.0.2.1", "documentation"],
      ["198.18.0.1", "benchmark"],
    ] as const) {
      expect(mayDial(address, NOTHING)).toEqual({ ok: false, kind })
    }
  })

  test("grows by the ranges that a route opens, and by those only", () => {
    const options = { ...NOTHING, private: ranges("10.1.0.0/16", "fd12:3400::/24", "127.0.0.1") }
    expect(mayDial("10.1.255.255", options)).toEqual({ ok: true })
    expect(mayDial("10.2.0.0", options)).toEqual({ ok: false, kind: "private" })
    expect(mayDial("fd12:34ff::1", options)).toEqual({ ok: true })
    expect(mayDial("fd12:3500::1", options)).toEqual({ ok: false, kind: "private" })
    expect(mayDial("127.0.0.1", options)).toEqual({ ok: true })
    expect(mayDial("127.0.0.2", options)).toEqual({ ok: false, kind: "loopback" })
  })

  test("may be opened for loopback, private, carrier-grade NAT, documentation and benchmark addresses", () => {
    for (const address of [
      "127.0.0.1",
      "::1",
      "10.0.0.1",
      "fd00::1",
      "100.64.0.1",
      "192.0.2.1",
      "2001:db8::1",
      "198.18.0.1",
    ]) {
      expect(mayDial(address, EVERYTHING)).toEqual({ ok: true })
    }
  })

  test("never holds metadata, link-local, multicast, unspecified, broadcast or translation addresses", () => {
    for (const [address, kind] of [
      ["169.254.169.254", "metadata"],
      ["100.100.100.200", "metadata"],
      ["168.63.129.16", "metadata"],
      ["fd00:ec2::254", "metadata"],
      ["169.254.1.1", "link-local"],
      ["fe80::1", "link-local"],
      ["224.0.0.1", "multicast"],
      ["ff02::1", "multicast"],
      ["0.0.0.0", "unspecified"],
      ["::", "unspecified"],
      ["255.255.255.255", "reserved"],
      ["::ffff:8.8.8.8", "mapped"],
      ["::ffff:10.0.0.1", "mapped"],
      ["64:ff9b::8.8.8.8", "nat64"],
      ["2002:808:808::1", "6to4"],
      ["2001::1", "teredo"],
      ["fe80::1%lo", "invalid"],
    ] as const) {
      expect(mayDial(address, EVERYTHING)).toEqual({ ok: false, kind })
    }
  })

  test("leaves out the host's own addresses, in any spelling, unless a range covers them", () => {
    const own = { private: [], hostAddresses: new Set(["198.41.0.4", "2606:4700::1", "10.0.0.5"]) }
    expect(mayDial("198.41.0.4", own)).toEqual({ ok: false, kind: "host" })
    expect(mayDial("2606:4700:0:0::0001", own)).toEqual({ ok: false, kind: "host" })
    expect(mayDial("198.41.0.5", own)).toEqual({ ok: true })
    expect(mayDial("198.41.0.4", { ...own, private: ranges("198.41.0.4/32") })).toEqual({ ok: true })
    expect(mayDial("10.0.0.5", { ...own, private: ranges("10.0.0.0/8") })).toEqual({ ok: true })
  })

  test("has no answer but refusal for text that is no address", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), (text) => {
        if (classifyAddress(text).kind === "invalid") {
          expect(mayDial(text, EVERYTHING)).toEqual({ ok: false, kind: "invalid" })
        }
      }),
    )
  })

  test("never reaches inside a network through IPv6 spellings of its IPv4 addresses", () => {
    const prefixes = ["::ffff:", "::", "::ffff:0:", "64:ff9b::"]
    fc.assert(
      fc.property(fc.ipV4(), fc.constantFrom(...prefixes), (ip, prefix) => {
        expect(mayDial(`${prefix}${ip}`, NOTHING).ok).toBe(false)
      }),
    )
  })
})

describe("a range", () => {
  test("is read with a prefix or as a single address", () => {
    expect(parseCidr("10.0.0.0/8")).toEqual({ base: new Uint8Array([10, 0, 0, 0]), bits: 8 })
    expect(parseCidr("10.0.0.1")?.bits).toBe(32)
    expect(parseCidr("::/0")?.bits).toBe(0)
    expect(parseCidr("fd00::/8")?.bits).toBe(8)
    expect(parseCidr("::1")?.bits).toBe(128)
  })

  for (const text of [
    "",
    "/8",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "10.0.0.1/8",
    "10/8",
    "fd00::/129",
    "fd00::1/8",
    "[fd00::]/8",
    "fe80::%eth0/10",
    "example.com/8",
    "10.0.0.0/ 8",
    "10.0.0.0/255.0.0.0",
  ]) {
    test(`${JSON.stringify(text)} is refused`, () => {
      expect(parseCidr(text)).toBeUndefined()
    })
  }

  test("covers the addresses whose first bits are its own", () => {
    const word = fc.integer({ min: 0, max: 0xffffffff })
    const text = (n: number) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255].join(".")
    fc.assert(
      fc.property(word, word, fc.integer({ min: 0, max: 32 }), (a, b, bits) => {
        const mask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0
        const range = ranges(`${text((a & mask) >>> 0)}/${bits}`)
        const kind = classifyAddress(text(b)).kind
        if (!["private", "loopback", "cgnat", "documentation", "benchmark"].includes(kind)) return
        expect(mayDial(text(b), { ...NOTHING, private: range }).ok).toBe(((a ^ b) & mask) === 0)
      }),
      { numRuns: 3000 },
    )
  })
})
