/** What a program switched on in a terminal: given back when somebody leaves, given on when somebody comes. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { TerminalModes } from "../../src/policy/terminal/modes.ts"
import { openScreen } from "../fixtures/screen.ts"
import {
  ATTACKS,
  bytes,
  chunked,
  cuts,
  hostileStream,
  shown,
  workStream,
} from "../fixtures/terminal-stream.ts"

function modesAfter(...chunks: (string | Uint8Array)[]): { set: string; reset: string } {
  const modes = new TerminalModes()
  for (const chunk of chunks) modes.push(typeof chunk === "string" ? bytes(chunk) : chunk)
  return { set: shown(modes.set()), reset: shown(modes.reset()) }
}

const NOTHING = { set: "", reset: "" }

describe("a terminal is given back", () => {
  for (const [name, on, reset] of [
    ["from the alternate screen", "\u001b[?1049h", "\u001b[?1049l"],
    ["from the old alternate screen", "\u001b[?47h", "\u001b[?47l"],
    ["with its cursor", "\u001b[?25l", "\u001b[?25h"],
    ["without mouse reports", "\u001b[?1002;1006h", "\u001b[?1002l\u001b[?1006l"],
    ["without focus reports", "\u001b[?1004h", "\u001b[?1004l"],
    ["without bracketed paste", "\u001b[?2004h", "\u001b[?2004l"],
    ["with a screen that moves", "\u001b[?2026h", "\u001b[?2026l"],
    ["with lines that wrap", "\u001b[?7l", "\u001b[?7h"],
    ["in its colours", "\u001b[1;31m", "\u001b[m"],
    ["with its cursor's shape", "\u001b[6 q", "\u001b[0 q"],
    ["with its keys, kitty's way", "\u001b[>1u\u001b[>3u", "\u001b[<2u"],
    ["with its keys, xterm's way", "\u001b[>4;2m", "\u001b[>4m"],
    ["with its keypad", "\u001b=", "\u001b>"],
    ["with letters instead of lines", "\u001b(0", "\u001b(B"],
    ["shifted back", "\u001b)0\u000e", "\u001b)B\u000f"],
    ["with the whole screen scrolling", "\u001b[2;10r", "\u001b7\u001b[r\u001b8"],
    ["replacing, not inserting", "\u001b[4h", "\u001b[4l"],
    ["with its background", "\u001b]11;#fff\u0007", "\u001b]111\u001b\\"],
    ["with its palette", "\u001b]4;1;?;2;#fff\u0007", "\u001b]104\u001b\\"],
    ["outside of a link", "\u001b]8;;https://a\u0007", "\u001b]8;;\u001b\\"],
    ["without progress", "\u001b]9;4;1;9\u0007", "\u001b]9;4;0\u001b\\"],
  ] as const) {
    test(name, () => {
      expect(modesAfter(on).reset).toBe(reset)
      // What gives it back is what puts the tracker back, too.
      expect(modesAfter(on, reset)).toEqual(NOTHING)
    })
  }

  test("untouched when the program put everything back itself", () => {
    expect(
      modesAfter(
        "\u001b[?1049h\u001b[>1u\u001b[?1000h\u001b[31mx\u001b[m\u001b[<u\u001b[?1000l\u001b[?1049l",
      ),
    ).toEqual(NOTHING)
    expect(modesAfter("\u001b]8;;https://a\u001b\\x\u001b]8;;\u001b\\")).toEqual(NOTHING)
  })

  test("untouched by what only asks", () => {
    expect(modesAfter("\u001b]11;?\u0007\u001b]4;1;?\u0007\u001b[?u\u001b[?2004$p\u001b[?4m")).toEqual(
      NOTHING,
    )
  })

  test("untouched by what never reaches it", () => {
    const { "leaves UTF-8": _, ...attacks } = ATTACKS
    for (const attack of Object.values(attacks)) expect(modesAfter(attack)).toEqual(NOTHING)
  })

  test("with the keys of both of its screens", () => {
    const { set, reset } = modesAfter("\u001b[=1u\u001b[?1049h\u001b[>5u")
    expect(set).toBe("\u001b[=1u\u001b[?1049h\u001b[>5u")
    expect(reset).toBe("\u001b[<1u\u001b[?1049l\u001b[=0u")
  })

  test("by a full reset of the program", () => {
    expect(modesAfter("\u001b[?1049h\u001b[>1u\u001b[?25l\u001b[3;4r\u001b(0\u001b[5 q\u001bc")).toEqual(
      NOTHING,
    )
  })
})

test("a program that pushes keys without end fills no memory, and all of them are popped", () => {
  const { set, reset } = modesAfter("\u001b[>1u".repeat(10_000))
  expect(set).toBe("\u001b[>1u".repeat(8))
  expect(reset).toBe("\u001b[<8u")
})

test("whoever comes later does not get a screen that stands still", () => {
  expect(modesAfter("\u001b[?2026h").set).toBe("")
})

test("for any stream the modes are the same however it is cut", () => {
  fc.assert(
    fc.property(hostileStream, cuts, (stream, at) => {
      expect(modesAfter(...chunked(stream, at))).toEqual(modesAfter(stream))
    }),
    { numRuns: 500 },
  )
})

test("for any stream of a program, a real terminal is as before when all is given back", async () => {
  using fresh = openScreen()
  await fc.assert(
    fc.asyncProperty(workStream, async (stream) => {
      using screen = openScreen()
      const modes = new TerminalModes()
      modes.push(stream)
      await screen.write(stream)
      await screen.write(modes.reset())
      expect(screen.state()).toEqual(fresh.state())
      // And nothing is left to give back.
      modes.push(modes.reset())
      expect(shown(modes.reset())).toBe("")
    }),
    { numRuns: 300 },
  )
})

test("for any stream of a program, a real terminal that comes later is where the first one is", async () => {
  await fc.assert(
    fc.asyncProperty(workStream, async (stream) => {
      using first = openScreen()
      using later = openScreen()
      const modes = new TerminalModes()
      modes.push(stream)
      await first.write(stream)
      await later.write(modes.set())
      expect(later.state()).toEqual(first.state())
    }),
    { numRuns: 300 },
  )
})

test("the screen that is seen and what the terminal reports by itself can be asked for", () => {
  const modes = new TerminalModes()
  expect([modes.screen, modes.reports]).toEqual(["main", false])
  for (const mode of [1000, 1002, 1003, 1004, 2031, 2048]) {
    modes.push(bytes(`\u001b[?${mode}h`))
    expect(modes.reports).toBe(true)
    modes.push(bytes(`\u001b[?${mode}l`))
    expect(modes.reports).toBe(false)
  }
  modes.push(bytes("\u001b[?1049h\u001b[?2004h"))
  expect([modes.screen, modes.reports]).toEqual(["alternate", false])
})
