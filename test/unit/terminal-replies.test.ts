/** Answers of a terminal that are on their way when the user leaves: none is typed into the shell. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { LAST_QUESTION, ReplyDrain } from "../../src/policy/terminal/replies.ts"
import { openScreen } from "../fixtures/screen.ts"
import { bytes, chunked, cuts, hostileStream, QUESTIONS, shown, WORK } from "../fixtures/terminal-stream.ts"

/** Each question with what a terminal answers. */
const ANSWERS: readonly (readonly [string, string])[] = [
  ["\u001b[c", "\u001b[?62;1;4c"],
  ["\u001b[0c", "\u001b[?1;2c"],
  ["\u001b[>c", "\u001b[>41;354;0c"],
  ["\u001b[=c", "\u001bP!|00000000\u001b\\"],
  ["\u001b[5n", "\u001b[0n"],
  ["\u001b[6n", "\u001b[24;80R"],
  ["\u001b[?6n", "\u001b[?24;80;1R"],
  ["\u001b[?996n", "\u001b[?997;1n"],
  ["\u001b[?2026$p", "\u001b[?2026;2$y"],
  ["\u001b[4$p", "\u001b[4;2$y"],
  ["\u001b[>0q", "\u001bP>|xterm(390)\u001b\\"],
  ["\u001b[?u", "\u001b[?0u"],
  ["\u001b[?4m", "\u001b[>4;2m"],
  ["\u001b]11;?\u0007", "\u001b]11;rgb:0000/0000/0000\u0007"],
  ["\u001b]4;7;?\u001b\\", "\u001b]4;7;rgb:aaaa/aaaa/aaaa\u001b\\"],
  ["\u001bP$qm\u001b\\", "\u001bP1$r0m\u001b\\"],
  ["\u001bP+q544e\u001b\\", "\u001bP1+r544e=787465726d\u001b\\"],
]

function typed(drain: ReplyDrain, text: string): string {
  return shown(drain.push(bytes(text)))
}

describe("a question", () => {
  for (const [question, answer] of ANSWERS) {
    test(`${JSON.stringify(question)} is pending until it is answered, and the answer is not typed`, () => {
      const drain = new ReplyDrain()
      expect(drain.pending()).toBe(false)
      drain.sent(bytes(`x${question}y`))
      expect(drain.pending()).toBe(true)
      expect(typed(drain, "ls")).toBe("ls")
      expect(drain.pending()).toBe(true)
      expect(typed(drain, `a${answer}b`)).toBe("ab")
      expect(drain.pending()).toBe(false)
    })
  }

  test("asked twice has two answers", () => {
    const drain = new ReplyDrain()
    drain.sent(bytes("\u001b[6n\u001b[6n\u001b]4;1;?;2;?\u0007"))
    expect(typed(drain, "\u001b[1;1R\u001b[1;1R\u001b]4;1;rgb:0/0/0\u0007")).toBe("")
    expect(drain.pending()).toBe(true)
    expect(typed(drain, "\u001b]4;2;rgb:0/0/0\u0007")).toBe("")
    expect(drain.pending()).toBe(false)
  })

  test("that the terminal does not know is over when a later one is answered", () => {
    const drain = new ReplyDrain()
    drain.sent(bytes("\u001b[>0q\u001b[?u"))
    drain.sent(LAST_QUESTION)
    expect(typed(drain, "\u001b[?62c")).toBe("")
    expect(drain.pending()).toBe(false)
  })

  test("asked after another is not answered by that one's answer", () => {
    const drain = new ReplyDrain()
    drain.sent(bytes("\u001b[c\u001b[6n"))
    typed(drain, "\u001b[?62c")
    expect(drain.pending()).toBe(true)
  })

  test("that never reaches the terminal is not waited for", () => {
    const drain = new ReplyDrain()
    drain.sent(bytes("\u001b[21t\u001b]52;c;?\u0007\u0005\u001b[?15n"))
    drain.sent(bytes(WORK.join("")))
    expect(drain.pending()).toBe(false)
  })

  test("asked a million times takes no memory, and one last answer ends it", () => {
    const drain = new ReplyDrain()
    for (let i = 0; i < 100; i++) drain.sent(bytes("\u001b[>0q".repeat(10_000)))
    drain.sent(LAST_QUESTION)
    typed(drain, "\u001b[?62c")
    expect(drain.pending()).toBe(false)
  })
})

describe("what the user types", () => {
  test("stays: letters, keys, function keys, pasted text", () => {
    const keys =
      "ls -l\r\u001b[A\u001bOP\u001b[1;2R\u001b[15~\u001b[97;5u\u001bx\u001b[200~paste\nme 漢\u001b[201~\u0003"
    expect(typed(new ReplyDrain(), keys)).toBe(shown(bytes(keys)))
  })

  test("loses reports that a mode sends: mouse, focus, theme, size", () => {
    const reports =
      "\u001b[<0;10;20M\u001b[<0;10;20m\u001b[32;10;20M\u001b[M !!\u001b[I\u001b[O\u001b[?997;2n\u001b[48;24;80;0;0t"
    expect(typed(new ReplyDrain(), `a${reports}b`)).toBe("ab")
  })

  test("is told from answers that come in pieces", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...ANSWERS), { maxLength: 8 }), cuts, (pairs, at) => {
        const drain = new ReplyDrain()
        drain.sent(bytes(pairs.map(([question]) => question).join("")))
        const stream = bytes(pairs.map(([, answer], i) => `k${i}${answer}`).join(""))
        const out = chunked(stream, at).map((chunk) => shown(drain.push(chunk)))
        expect(out.join("")).toBe(pairs.map((_, i) => `k${i}`).join(""))
        expect(drain.pending()).toBe(false)
      }),
    )
  })
})

test("a real terminal's answers are all recognised, and after the last one none is pending", async () => {
  using screen = openScreen()
  const drain = new ReplyDrain()
  for (const question of QUESTIONS) {
    drain.sent(bytes(question))
    await screen.write(bytes(question))
  }
  drain.sent(LAST_QUESTION)
  await screen.write(LAST_QUESTION)
  expect(screen.typed.length).toBeGreaterThan(5)
  expect(screen.typed.map((text) => typed(drain, text)).join("")).toBe("")
  expect(drain.pending()).toBe(false)
})

test("for any output and input the result is the same however they are cut", () => {
  fc.assert(
    fc.property(hostileStream, hostileStream, cuts, (output, input, at) => {
      const results = [[output], chunked(output, at)].map((outputs, i) => {
        const drain = new ReplyDrain()
        for (const chunk of outputs) drain.sent(chunk)
        const inputs = i === 0 ? [input] : chunked(input, at)
        return [inputs.map((chunk) => shown(drain.push(chunk))).join(""), drain.pending()]
      })
      expect(results[1]).toEqual(results[0]!)
    }),
    { numRuns: 500 },
  )
})
