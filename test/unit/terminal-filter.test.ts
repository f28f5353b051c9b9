/** What of an agent's terminal output reaches the terminal of a person. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { TerminalFilter } from "../../src/policy/terminal/filter.ts"
import { openScreen } from "../fixtures/screen.ts"
import {
  ATTACKS,
  bytes,
  chunked,
  cuts,
  hostileStream,
  QUESTIONS,
  shown,
  single,
  WORK,
} from "../fixtures/terminal-stream.ts"

type Permission = "clipboard" | "title" | "notify"

function filtered(chunks: Uint8Array[], ...allow: Permission[]): string {
  const filter = new TerminalFilter({ allow: new Set(allow) })
  return shown(Buffer.concat(chunks.map((chunk) => filter.push(chunk.slice()).slice())))
}

describe("an agent that", () => {
  for (const [name, attack] of Object.entries(ATTACKS)) {
    test(`${name} writes nothing, and what stands around it stays`, () => {
      const stream = bytes(`before${attack}after`)
      expect(filtered([stream])).toBe("beforeafter")
      expect(filtered(single(stream))).toBe("beforeafter")
    })
  }

  test("does so in front of a terminal without the filter, and the terminal acts: the control", async () => {
    using screen = openScreen()
    for (const attack of [
      "\u001b]0;owned\u0007",
      "\u001b]52;c;cm0=\u0007",
      "\u001b[21t",
      "\u001b[5i",
      "\u001bP1000p\u001b\\",
    ])
      await screen.write(bytes(attack))
    expect(screen.acted).toEqual(["title owned", "OSC 52", "CSI t", "CSI i", "DCS p"])
  })

  test("does all of it at once leaves the terminal without a title, an action or a word typed", async () => {
    using screen = openScreen()
    const filter = new TerminalFilter({ allow: new Set() })
    for (const attack of Object.values(ATTACKS)) await screen.write(filter.push(bytes(attack)).slice())
    await screen.write(filter.push(bytes("still here")))
    expect(screen.acted).toEqual([])
    expect(screen.typed).toEqual([])
    expect(screen.lines()[0]).toBe("still here")
  })

  test("splits a control by what is removed does not get it joined", () => {
    const split = Buffer.concat([Buffer.of(0xc2), bytes("\u001b]0;x\u0007"), Buffer.of(0x9b), bytes("21t")])
    expect(filtered([split])).toBe("21t")
    expect(filtered([bytes("\u001b\u0005[21t")])).toBe("")
    expect(filtered([bytes("\u001b\u001b[i]52;c;cm0=\u0007")])).toBe("]52;c;cm0=\u0007")
  })

  test("writes 8-bit controls loses the bytes, in and out of characters", () => {
    for (const raw of [
      [0x9b],
      [0xc0, 0x9b],
      [0xe0, 0x82, 0x9b],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xff],
    ])
      expect(filtered([Buffer.concat([bytes("a"), Buffer.from(raw), bytes("31mb")])])).toBe("a31mb")
  })

  test("never ends a string loses it up to the next sequence, and keeps no memory of more than its limit", () => {
    const filter = new TerminalFilter({ allow: new Set() })
    expect(filter.push(bytes("a\u001b]52;c;")).length).toBe(1)
    const mebibyte = new Uint8Array(1024 * 1024).fill(0x41)
    for (let i = 0; i < 8; i++) expect(filter.push(mebibyte).length).toBe(0)
    expect(shown(filter.push(bytes("\u0007b\u001b[m")))).toBe("b\u001b[m")
  })
})

describe("what programs need passes as it is:", () => {
  for (const text of [...WORK, ...QUESTIONS]) {
    test(JSON.stringify(text), () => {
      expect(filtered([bytes(text)])).toBe(shown(bytes(text)))
      expect(filtered(single(bytes(text)))).toBe(shown(bytes(text)))
    })
  }

  test("a chunk that is all harmless is not copied", () => {
    const chunk = bytes(WORK.join(""))
    const out = new TerminalFilter({ allow: new Set() }).push(chunk)
    expect(out.buffer).toBe(chunk.buffer)
    expect(out.length).toBe(chunk.length)
  })
})

describe("what a user allows", () => {
  test("is the title, and its text is still never typed back", () => {
    for (const good of ["\u001b]0;✓ build\u0007", "\u001b]2;x\u001b\\", "\u001b[22;0t", "\u001b[23;2t"])
      expect(filtered([bytes(good)], "title")).toBe(shown(bytes(good)))
    for (const bad of [
      "\u001b[21t",
      "\u001b[8;1;1t",
      "\u001b]2;a\u000db\u0007",
      `\u001b]2;${"x".repeat(600)}\u0007`,
    ])
      expect(filtered([bytes(bad)], "title")).toBe("")
  })

  test("is writing the clipboard, never reading it", () => {
    const long = `\u001b]52;c;${"QUJD".repeat(20_000)}\u0007`
    for (const good of ["\u001b]52;c;cm0=\u0007", "\u001b]52;;cm0=\u001b\\", long])
      expect(filtered(chunked(bytes(good), [3, 999]), "clipboard")).toBe(good)
    for (const bad of [
      "\u001b]52;c;?\u0007",
      "\u001b]52;c;a b\u0007",
      "\u001b]1337;Copy=:cm0=\u0007",
      "\u001b]5522;\u0007",
    ])
      expect(filtered([bytes(bad)], "clipboard")).toBe("")
    expect(filtered([bytes(`\u001b]52;c;${"QUJD".repeat(40_000)}\u0007`)], "clipboard")).toBe("")
  })

  test("is notifications of text, not those that run something", () => {
    for (const good of [
      "\u001b]9;done\u0007",
      "\u001b]777;notify;a;b\u0007",
      "\u001b]99;i=1:d=0;Hello\u001b\\",
      "\u001b]99;;Hi\u001b\\",
    ])
      expect(filtered([bytes(good)], "notify")).toBe(good)
    for (const bad of [
      "\u001b]9;7;calc\u0007",
      "\u001b]9;6;x\u0007",
      "\u001b]777;precmd\u0007",
      "\u001b]99;a=report;x\u001b\\",
      "\u001b]99;i=1:;x\u001b\\",
    ])
      expect(filtered([bytes(bad)], "notify")).toBe("")
  })

  test("is nothing else", () => {
    const rest = Object.entries(ATTACKS).filter(
      ([name]) => !/title|clipboard|notification|passthrough/.test(name),
    )
    expect(rest.length).toBeGreaterThan(40)
    for (const [, attack] of rest) expect(filtered([bytes(attack)], "title", "clipboard", "notify")).toBe("")
  })
})

/** All that may come out, spelled out once more: any other byte in any other place is a fault. */
const CHARACTER =
  "[\\x20-\\x7e]|\\xc2[\\xa0-\\xbf]|[\\xc3-\\xdf][\\x80-\\xbf]|\\xe0[\\xa0-\\xbf][\\x80-\\xbf]|[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}" +
  "|\\xed[\\x80-\\x9f][\\x80-\\xbf]|\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}|[\\xf1-\\xf3][\\x80-\\xbf]{3}|\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2}"
const SHAPE = new RegExp(
  `^(?:${CHARACTER}|[\\x07-\\x0f]|\\x1b(?:[78DEHMc=>]|[()*+][0AB12]|#[34568]` +
    "|\\[[\\d;:]*m|\\[[\\d;]*[@A-MPSTXZ`a-hlnrsu]|\\[\\?[\\d;]*(?:[hlJKnmu]|\\$p)|\\[[\\d;]*(?:!p|\\$p| [q@A]|'[}~])" +
    "|\\[>[\\d;]*[cqumn]|\\[<\\d*u|\\[=[\\d;]*[cu]" +
    "|\\](?:4|1[01279]|104|11[01279]|133|9;4)(?:;[\\w?#:/;=.-]*)?(?:\\x07|\\x1b\\\\)" +
    "|\\]8;[^;\\x00-\\x1f]*;(?:https?://[\\x21-\\x7e]+|mailto:[\\x21-\\x7e]+)?(?:\\x07|\\x1b\\\\)" +
    '|P(?:\\$q[mrst "pq]+|\\+q[\\da-fA-F;]+)\\x1b\\\\))*$',
)

describe("whatever is written", () => {
  // 400 runs of some 14 pieces; a fault prints its seed.
  const runs = { numRuns: 400 }

  test("has the same result however it is cut", () => {
    fc.assert(
      fc.property(hostileStream, cuts, (stream, at) => {
        const whole = filtered([stream])
        expect(filtered(chunked(stream, at))).toBe(whole)
        expect(filtered(single(stream))).toBe(whole)
      }),
      runs,
    )
  })

  test("comes out as harmless sequences and whole characters only", () => {
    fc.assert(
      fc.property(hostileStream, (stream) => {
        expect(filtered([stream])).toMatch(SHAPE)
      }),
      { numRuns: 4000 },
    )
  })

  test("comes out as a part of itself, and passes a second time as it is", () => {
    fc.assert(
      fc.property(hostileStream, (stream) => {
        const out = filtered([stream])
        const rest = shown(stream)
        let at = 0
        for (const char of out) at = rest.indexOf(char, at) + 1 || Number.POSITIVE_INFINITY
        expect(at).toBeLessThanOrEqual(rest.length)
        expect(filtered([Buffer.from(out, "latin1")])).toBe(out)
      }),
      { numRuns: 2000 },
    )
  })

  test("lets all harmless pieces through when complete attacks stand between them", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...WORK), fc.constantFrom(...Object.values(ATTACKS))), {
          maxLength: 20,
        }),
        cuts,
        (pairs, at) => {
          const stream = bytes(pairs.flat().join(""))
          expect(filtered(chunked(stream, at))).toBe(shown(bytes(pairs.map(([work]) => work).join(""))))
        },
      ),
      runs,
    )
  })

  test("makes a real terminal act on nothing outside of its screen", async () => {
    await fc.assert(
      fc.asyncProperty(hostileStream, async (stream) => {
        using screen = openScreen()
        await screen.write(Buffer.from(filtered([stream]), "latin1"))
        expect(screen.acted).toEqual([])
        // Nothing that the terminal types holds a line end: no answer can run as a command.
        for (const typed of screen.typed) expect(typed).not.toMatch(/[\r\n]/)
      }),
      { numRuns: 200 },
    )
  })

  test("from a fixed seed of random bytes, 20,000 times, comes out as harmless", () => {
    let state = 0x5eed
    const next = () => {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      return (state >>> 0) / 2 ** 32
    }
    // Mostly the bytes that sequences are made of.
    const likely = bytes("\u001b\u001b\u001b[]P_\\?>=;:0125t8cmhlqniu$\u0007\u0018\u009b\u009d")
    const filter = new TerminalFilter({ allow: new Set() })
    let out = ""
    for (let i = 0; i < 20_000; i++) {
      const length = Math.floor(next() * 24)
      const chunk = Uint8Array.from({ length }, () =>
        next() < 0.8 ? likely[Math.floor(next() * likely.length)]! : Math.floor(next() * 256),
      )
      out += shown(filter.push(chunk))
    }
    expect(out.length).toBeGreaterThan(1000)
    for (const part of out.match(/\u001b?[^\u001b]*(?:\u001b\\)?/g)!) expect(part).toMatch(SHAPE)
  })

  test("costs its length, not its square, in single bytes and without an end", () => {
    // Measured on 2 cores at 2.5 GHz: 2,300 MB/s of plain text, 1,200 MB/s of Chinese, 240 MB/s of coloured screens.
    const time = (length: number) => {
      const filter = new TerminalFilter({ allow: new Set() })
      filter.push(bytes("\u001b]8;;https://"))
      const byte = Uint8Array.of(0x61)
      const began = performance.now()
      for (let i = 0; i < length; i++) filter.push(byte)
      return performance.now() - began
    }
    time(20_000)
    // A square would make it 100 times as long.
    expect(time(1_000_000)).toBeLessThan(40 * Math.max(time(100_000), 5))
  })
})
