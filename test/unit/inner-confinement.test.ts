import { describe, expect, test } from "bun:test"
import { judgeInterfaces, judgeStatus } from "../../sidecars/inner/confinement.ts"

const LOOPBACK = { name: "lo", flags: 0x9 }

describe("the sandbox's interfaces", () => {
  test("are in order when there is loopback alone", () => {
    expect(judgeInterfaces([LOOPBACK], 0).ok).toBe(true)
  })

  test("are in order with the idle tunnels that some kernels put into every network", () => {
    expect(
      judgeInterfaces([LOOPBACK, { name: "tunl0", flags: 0x80 }, { name: "sit0", flags: 0x80 }], 0).ok,
    ).toBe(true)
  })

  test("are a hole when one is up, and it is named", () => {
    const result = judgeInterfaces(
      [LOOPBACK, { name: "tunl0", flags: 0x80 }, { name: "eth0", flags: 0x1003 }],
      0,
    )
    expect(result).toMatchObject({ ok: false, detail: "interfaces: eth0; routes: 0" })
  })

  test("are a hole when a route exists", () => {
    expect(judgeInterfaces([LOOPBACK], 1).ok).toBe(false)
  })
})

const CONFINED = [
  "Name:\tbun",
  "Uid:\t1000\t1000\t1000\t1000",
  ...["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map((set) => `${set}:\t0000000000000000`),
  "NoNewPrivs:\t1",
  "Seccomp:\t2",
  "Seccomp_filters:\t1",
].join("\n")

describe("a process that is confined", () => {
  test("is found to be", () => {
    expect(judgeStatus(CONFINED)).toEqual({
      name: "confinement",
      ok: true,
      detail: "no capability, and no way to one",
    })
  })

  for (const [hole, from, to] of [
    ["CapEff is 0000000000002000", "CapEff:\t0000000000000000", "CapEff:\t0000000000002000"],
    ["CapBnd is 00000000a80425fb", "CapBnd:\t0000000000000000", "CapBnd:\t00000000a80425fb"],
    ["NoNewPrivs", "NoNewPrivs:\t1", "NoNewPrivs:\t0"],
    ["Seccomp", "Seccomp:\t2", "Seccomp:\t0"],
    ["Seccomp", "Seccomp:\t2\n", ""],
    ["root", "Uid:\t1000", "Uid:\t0"],
    ["CapPrm is missing", "CapPrm:\t0000000000000000\n", ""],
  ] as const) {
    test(`is not with "${to.trim() || `no ${from.split(":")[0]}`}", and the hole is named`, () => {
      const status = CONFINED.replace(from, to)
      expect(status).not.toBe(CONFINED)
      expect(judgeStatus(status)).toMatchObject({ ok: false, detail: expect.stringContaining(hole) })
    })
  }
})
