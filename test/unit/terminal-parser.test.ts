/** Terminal output cut into tokens: the same ones however it arrives, none of them broken. */
import { expect, test } from "bun:test"
import fc from "fast-check"
import { TerminalParser } from "../../src/policy/terminal/parser.ts"
import { bytes, chunked, cuts, hostileStream, shown, single } from "../fixtures/terminal-stream.ts"

/** Tokens as `kind:bytes`, text that stands together joined. */
function tokens(chunks: Uint8Array[]): string[] {
  const found: { kind: string; text: string }[] = []
  const parser = new TerminalParser((kind, raw, from, to) => {
    const text = shown(raw.slice(from, to))
    const last = found.at(-1)
    if (kind === "text" && last?.kind === "text") last.text += text
    else found.push({ kind, text })
  })
  for (const chunk of chunks) parser.push(chunk)
  return found.map(({ kind, text }) => `${kind}:${text}`)
}

test("each kind of sequence is told apart", () => {
  const stream =
    "a\nb\u001b7\u001b(0\u001b[1;2m\u001b[?25h\u001b[5 q\u001b]0;t\u0007\u001b]8;;\u001b\\\u001bP$qm\u001b\\"
  expect(
    tokens([bytes(`${stream}\u001b_G\u001b\\\u001b^p\u001b\\\u001bXs\u001b\\\u001bkt\u001b\\`)]),
  ).toEqual([
    "text:a",
    "control:\n",
    "text:b",
    "escape:\u001b7",
    "escape:\u001b(0",
    "csi:\u001b[1;2m",
    "csi:\u001b[?25h",
    "csi:\u001b[5 q",
    "osc:\u001b]0;t\u0007",
    "osc:\u001b]8;;\u001b\\",
    "dcs:\u001bP$qm\u001b\\",
    "apc:\u001b_G\u001b\\",
    "pm:\u001b^p\u001b\\",
    "sos:\u001bXs\u001b\\",
    "title:\u001bkt\u001b\\",
  ])
})

test("sequences that terminals read in different ways do not come out", () => {
  for (const broken of [
    "\u001b[1\n2m",
    "\u001b[1\u007fm",
    "\u001b[1?m",
    "\u001b[1 2m",
    "\u001b]0;\nx\u0007",
    "\u001bP$q\u0007m\u001b\\",
    "\u001b\n7",
    "\u009b1m",
    "\u0090$qm\u009c",
    "\u0085",
    "\u001b]0;x\u009c",
    "\u001b[1\u0018",
    "\u001b!!!!!!!!7",
  ])
    expect(tokens([bytes(`x${broken}y`)]).join(" ")).toMatch(/^text:x(?:y| text:y)$/)
})

test("an ESC in a sequence begins the next one", () => {
  expect(tokens([bytes("\u001b[1\u001b[2m")])).toEqual(["csi:\u001b[2m"])
  expect(tokens([bytes("\u001b]0;x\u001b[2m")])).toEqual(["csi:\u001b[2m"])
  expect(tokens([bytes("\u001b]0;x\u001b"), bytes("[2m")])).toEqual(["csi:\u001b[2m"])
  expect(tokens([bytes("\u001b\u001b7")])).toEqual(["escape:\u001b7"])
})

test("a character that is no ASCII ends a sequence and is text itself", () => {
  expect(tokens([bytes("\u001b[1é\u001b(ü")])).toEqual([`text:${shown(bytes("éü"))}`])
})

test("sequences are whole up to their limit, and nothing beyond it", () => {
  for (const [before, after, limit] of [
    ["\u001b[", "m", 256],
    ["\u001b]", "\u0007", 128 * 1024],
    ["\u001bP", "\u001b\\", 128 * 1024],
  ] as const) {
    const fitting = before + "1".repeat(limit - before.length - after.length) + after
    expect(tokens([bytes(fitting)]).length).toBe(1)
    expect(tokens(chunked(bytes(fitting), [100, 200, 5000])).length).toBe(1)
    const longer = fitting.replace("1", "11")
    expect(tokens([bytes(`${longer}x`)])).toEqual(["text:x"])
    expect(tokens(chunked(bytes(`${longer}x`), [100, 200, 5000]))).toEqual(["text:x"])
  }
})

test("for any stream the tokens are the same however it is cut", () => {
  fc.assert(
    fc.property(hostileStream, cuts, (stream, at) => {
      const whole = tokens([stream])
      expect(tokens(chunked(stream, at))).toEqual(whole)
      expect(tokens(single(stream))).toEqual(whole)
    }),
    { numRuns: 500 },
  )
})

test("for any stream the tokens joined are those tokens again", () => {
  fc.assert(
    fc.property(hostileStream, (stream) => {
      const once = tokens([stream])
      const joined = once.map((token) => token.slice(token.indexOf(":") + 1)).join("")
      const again = tokens([Buffer.from(joined, "latin1")])
      // Text on both sides of what fell out is one text now.
      expect(again.join("").replaceAll("text:", "")).toBe(once.join("").replaceAll("text:", ""))
    }),
    { numRuns: 1000 },
  )
})

test("what is not finished, with the rest behind it, is what the stream had been", () => {
  fc.assert(
    fc.property(hostileStream, fc.nat(20_000), hostileStream, (stream, place, more) => {
      const before = stream.slice(0, place % (stream.length + 1))
      const whole = Buffer.concat([before, more])
      const parser = new TerminalParser(() => {})
      parser.push(before)
      const late = tokens([Buffer.concat([parser.partial(), more])])
      const all = tokens([whole])
      const early = tokens([before])
      const text = (list: string[]) => list.map((token) => token.slice(token.indexOf(":") + 1)).join("")
      expect(text(early) + text(late)).toBe(text(all))
    }),
    { numRuns: 1000 },
  )
})

test("what is not finished stays too long when the rest comes to somebody else", () => {
  for (const begin of [
    `\u001b]8;;${"x".repeat(200_000)}`,
    `\u001b[${"1;".repeat(400)}`,
    "\u001b!!!!!!!!!!!!",
  ]) {
    for (const end of ["\u0007", "\u001b\\", "m"]) {
      const parser = new TerminalParser(() => {})
      parser.push(bytes(begin + (end === "\u001b\\" ? "\u001b" : "")))
      const rest = end === "\u001b\\" ? "\\" : end
      const kinds = tokens([parser.partial(), bytes(rest)]).map((token) => token.split(":")[0]!)
      expect(kinds.filter((kind) => ["osc", "csi", "dcs"].includes(kind))).toEqual([])
    }
  }
})
