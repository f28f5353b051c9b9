import { expect, test } from "bun:test"
import { stripVTControlCharacters, styleText } from "node:util"
import type { Chapter, Outcome, Step } from "../../src/demo/step.ts"
import { Story } from "../../src/demo/story.ts"
import { type Paint, widthOf } from "../../src/runtime/output.ts"

const painted = (style: Parameters<typeof styleText>[0]) => (text: string) =>
  styleText(style, text, { validateStream: false })
const COLOURED: Paint = {
  strong: painted("bold"),
  dim: painted("dim"),
  good: painted("green"),
  warn: painted("yellow"),
  bad: painted("red"),
  name: painted("cyan"),
}
const same = (text: string) => text
const PLAIN: Paint = { strong: same, dim: same, good: same, warn: same, bad: same, name: same }

const step = (who: Step["who"]): Step => ({
  name: "a-step",
  who,
  tried: () => "",
  run: async () => ({ holds: true, seen: [], says: "" }),
})
const chapter: Chapter = {
  title: "A title that is longer than the narrowest of terminals would take",
  steps: [],
}
const holds: Outcome = {
  holds: true,
  seen: ["", "short", "x".repeat(300), "a line of many words ".repeat(12), "it ends in an ellipsis…", "…"],
  says: "A sentence that has to be folded on every terminal that is not as wide as a wall, and goes on after that",
}

/** All that a story tells. */
function told(width: number, colour: Paint): string {
  const story = new Story(width, colour)
  return [
    story.opening(),
    story.started("demo-k3x9a", 123.4, {
      found: "bubblewrap 0.8.0",
      notes: ["a note of many words ".repeat(8)],
    }),
    story.chapter(chapter),
    story.trying(step("agent"), 'curl -s -H "Authorization: Bearer $TOKEN" https://api.demo.example/'),
    story.outcome(holds),
    story.trying(step("you"), "bottle log demo-k3x9a --verify"),
    story.outcome({ ...holds, holds: false }),
    story.closing(1234),
  ].join("\n")
}

for (const width of [60, 80, 100]) {
  test(`no line is wider than a terminal of ${width} columns, and none ends in blanks`, () => {
    const lines = told(width, PLAIN).split("\n")
    expect(lines.filter((line) => widthOf(line) > width)).toEqual([])
    expect(lines.filter((line) => /\s$/.test(line))).toEqual([])
  })
}

test("on a wide terminal lines stay short enough to be read", () => {
  const lines = told(300, PLAIN).split("\n")
  expect(Math.max(...lines.map(widthOf))).toBe(100)
})

test("colours add nothing that the words do not say", () => {
  const coloured = told(80, COLOURED)
  expect(coloured).toContain("\u001b[")
  expect(stripVTControlCharacters(coloured)).toBe(told(80, PLAIN))
})

test("a step that holds and one that does not differ in a word, at the same column", () => {
  const story = new Story(80, PLAIN)
  const [good, bad] = [true, false].map((is) =>
    story.outcome({ holds: is, seen: ["answer"], says: "Meaning" }),
  )
  expect(good).toBe("        answer\n\u2713 ok    Meaning")
  expect(bad).toBe("        answer\n\u2717 FAIL  Meaning")
})

test("a command that does not fit is folded as a shell takes it", () => {
  const text = new Story(60, PLAIN).trying(
    step("agent"),
    "curl -s https://api.demo.example/ https://files.demo.example/x",
  )
  expect(text).toBe("\nagent $ curl -s https://api.demo.example/ \\\n          https://files.demo.example/x")
})

test("of an answer nothing is lost when it is folded", () => {
  const text = new Story(60, PLAIN).outcome(holds)
  for (const line of holds.seen) expect(text.replace(/\s+/g, "")).toContain(line.replace(/\s+/g, ""))
})
