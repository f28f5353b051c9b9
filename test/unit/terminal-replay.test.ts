/** Recent output for whoever joins: shown as it was, asked nothing, begun and ended between sequences. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { TerminalFilter } from "../../src/policy/terminal/filter.ts"
import { ScreenBuffer } from "../../src/policy/terminal/replay.ts"
import { openScreen } from "../fixtures/screen.ts"
import {
  bytes,
  chunked,
  cuts,
  hostileStream,
  QUESTIONS,
  shown,
  WORK,
  workStream,
} from "../fixtures/terminal-stream.ts"

function buffer(size: number, ...chunks: (string | Uint8Array)[]): ScreenBuffer {
  const screen = new ScreenBuffer(size)
  for (const chunk of chunks) screen.push(typeof chunk === "string" ? bytes(chunk) : chunk)
  return screen
}

/** What the filter of whoever joins lets through. */
function seen(...chunks: Uint8Array[]): string {
  const filter = new TerminalFilter({ allow: new Set(["title"]) })
  return chunks.map((chunk) => shown(filter.push(chunk))).join("")
}

const LARGE = 1024 * 1024

describe("a replay", () => {
  test("is what was written, as long as it fits", () => {
    expect(shown(buffer(LARGE, ...WORK).replay())).toBe(shown(bytes(WORK.join(""))))
    expect(buffer(LARGE).replay().length).toBe(0)
  })

  test("asks a terminal nothing, though what was written did: the control", async () => {
    const stream = bytes(`a${QUESTIONS.join("b")}`)
    using first = openScreen()
    await first.write(stream)
    expect(first.typed.length).toBeGreaterThan(4)
    using later = openScreen()
    await later.write(buffer(LARGE, stream).replay())
    expect(later.typed).toEqual([])
    expect(later.lines()[0]).toBe(first.lines()[0]!)
  })

  test("does not ring, copy or announce once more, and keeps the title", () => {
    const stream = "\u0007a\u001b]52;c;cm0=\u0007b\u001b]9;done\u0007c\u001b]0;t\u0007"
    expect(shown(buffer(LARGE, stream).replay())).toBe("abc\u001b]0;t\u0007")
  })

  test("begins with the modes as they were where it begins", () => {
    const screen = buffer(1024, "\u001b[?1049h\u001b[?25l\u001b[?1000h", "line\r\n".repeat(500))
    expect(shown(screen.replay())).toMatch(
      /^\u001b\[\?1049h\u001b\[\?25l\u001b\[\?1000h(?:ine|ne|e)?(?:\r?\n)?(?:line\r\n)+$/,
    )
    screen.push(bytes("\u001b[?1049l\u001b[?25h\u001b[?1000l"))
    screen.push(bytes("line\r\n".repeat(500)))
    expect(shown(screen.replay())).toMatch(/^(?:ine|ne|e)?(?:\r?\n)?(?:line\r\n)+$/)
  })

  test("holds at least 15 of 16 parts of what it may hold, and never more", () => {
    const size = 16 * 1024
    const screen = new ScreenBuffer(size)
    let written = 0
    for (let i = 0; written < 5 * size; i++) {
      const line = bytes(`${i} äöü 漢字 \u001b[31m`)
      screen.push(line)
      written += line.length
      const { length } = screen.replay()
      expect(length).toBeLessThanOrEqual(size)
      // Each part may end early by less than one sequence or character.
      if (written > size) expect(length).toBeGreaterThanOrEqual((15 * size) / 16 - 16 * 8)
    }
  })

  test("of one large chunk is its end", () => {
    const text = Array.from({ length: 20_000 }, (_, i) => `${i} 漢`).join(" ")
    const replay = new TextDecoder("utf-8", { fatal: true }).decode(buffer(4096, text).replay())
    expect(text.endsWith(replay)).toBe(true)
    expect(replay.length).toBeGreaterThan(1500)
  })

  test("goes on in the midst of a sequence", () => {
    for (const [begin, end] of [
      ["a\u001b[3", "1mb"],
      ["a\u001b]8;;https://", "x\u0007b"],
      ["a\u001b", "[mb"],
    ] as const) {
      expect(seen(buffer(1024, begin).replay(), bytes(end))).toBe(begin + end)
    }
    const fox = bytes("🦊")
    expect(seen(buffer(1024, fox.slice(0, 2)).replay(), fox.slice(2))).toBe(shown(fox))
  })

  test("in the midst of an attack goes on as that attack", () => {
    for (const [begin, end] of [
      ["a\u001b]52;c;", "cm0=\u0007b"],
      ["a\u001b_Gf=100", ";L2V0\u001b\\b"],
      [`a\u001b_${"x".repeat(300_000)}`, "yz\u001b\\b"],
      ["a\u001b[2", "1tb"],
    ] as const) {
      expect(seen(buffer(1024, begin).replay(), bytes(end))).toBe("ab")
    }
  })

  test("does not change when more is written", () => {
    const screen = buffer(1024, "a".repeat(900))
    const before = screen.replay()
    screen.push(bytes("b".repeat(5000)))
    expect(shown(before)).toBe("a".repeat(900))
  })

  test("needs room", () => {
    for (const size of [0, 1023, Number.NaN, -1]) expect(() => new ScreenBuffer(size)).toThrow(RangeError)
  })
})

describe("for any stream", () => {
  test("the replay is the same however it is cut", () => {
    fc.assert(
      fc.property(hostileStream, cuts, (stream, at) => {
        const twice = Buffer.concat([stream, stream, stream, stream])
        expect(shown(buffer(1024, ...chunked(twice, at)).replay())).toBe(shown(buffer(1024, twice).replay()))
      }),
      { numRuns: 500 },
    )
  })

  test("the replay begins between sequences and holds only what may be shown again", () => {
    fc.assert(
      fc.property(fc.array(hostileStream, { maxLength: 12 }), (streams) => {
        const screen = buffer(1024, ...streams)
        // Ends what has not ended, with CAN, so that all of it is whole.
        screen.push(Uint8Array.of(0x18))
        const replay = shown(screen.replay())
        expect(seen(Buffer.from(replay, "latin1"))).toBe(replay)
        // Without a single question, however it is spelled.
        expect(replay).not.toMatch(
          /\u001b\[(?:[>=?]?\d*[cn]|\??\d*\$p|>\d*q|\?u|\?4m)|\u001b\](?:4|1\d);[^\u0007\u001b]*\?|\u001bP/,
        )
      }),
      { numRuns: 500 },
    )
  })

  test("of a program that fits, whoever joins sees what the first one sees", async () => {
    await fc.assert(
      fc.asyncProperty(workStream, async (stream) => {
        using first = openScreen()
        using later = openScreen()
        await first.write(stream)
        await later.write(buffer(LARGE, stream).replay())
        expect(later.lines()).toEqual(first.lines())
        expect(later.state()).toEqual(first.state())
      }),
      { numRuns: 200 },
    )
  })

  test("of a program that does not fit, whoever joins has a terminal in the same state", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(workStream, { minLength: 4, maxLength: 12 }), async (streams) => {
        using first = openScreen()
        using later = openScreen()
        for (const stream of streams) await first.write(stream)
        await later.write(buffer(1024, ...streams).replay())
        expect(later.state()).toEqual(first.state())
      }),
      { numRuns: 200 },
    )
  })
})
