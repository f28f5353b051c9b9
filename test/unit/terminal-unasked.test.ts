import { expect, test } from "bun:test"
import { QuestionFilter } from "../../src/policy/terminal/unasked.ts"
import { bytes, QUESTIONS, shown, WORK } from "../fixtures/terminal-stream.ts"

test("every question is taken out, and all else stays as it is, wherever it is cut", () => {
  for (const question of QUESTIONS) {
    const text = `before${question}after`
    for (let at = 0; at <= text.length; at++) {
      const filter = new QuestionFilter(new Uint8Array())
      const first = shown(filter.push(bytes(text.slice(0, at))))
      expect(first + shown(filter.push(bytes(text.slice(at))))).toBe("beforeafter")
    }
  }
  for (const piece of WORK) {
    expect(shown(new QuestionFilter(new Uint8Array()).push(bytes(piece)))).toBe(shown(bytes(piece)))
  }
})

test("whoever joins in the midst of a sequence gets it whole, and who leaves the filter has its beginning", () => {
  const filter = new QuestionFilter(bytes("\u001b[3"))
  expect(shown(filter.push(bytes("1mred\u001b[")))).toBe("\u001b[31mred")
  expect(shown(filter.partial())).toBe("\u001b[")
})
