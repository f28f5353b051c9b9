import { expect, test } from "bun:test"
import { editorArgv } from "../../src/cli/editor.ts"
import { wrapped } from "../../src/cli/error-text.ts"
import { agentText, bottleText } from "../../src/cli/init-text.ts"
import { chosen } from "../../src/cli/pick.ts"
import { aligned, cut } from "../../src/cli/table.ts"
import { splitWords } from "../../src/manifest/words.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { LineEditor } from "../../src/runtime/line-editor.ts"
import { widthOf } from "../../src/runtime/output.ts"
import { errorOf, ManifestHome } from "../fixtures/manifest-home.ts"

test.each([
  ["code --wait", ["code", "--wait"]],
  ['"/opt/My Editor/bin/ed" -n', ["/opt/My Editor/bin/ed", "-n"]],
  ["emacs -nw --eval '(setq a \"b\")'", ["emacs", "-nw", "--eval", '(setq a "b")']],
  ["vi\\ m", ["vi m"]],
  ['a "" b', ["a", "", "b"]],
  ['"a\\$b\\c"', ["a$b\\c"]],
  ["$(rm -rf x) `y` ;z", ["$(rm", "-rf", "x)", "`y`", ";z"]],
])("the editor %s is split as a shell would, and expands nothing", (text, words) => {
  expect(splitWords(text)).toEqual(words)
})

test("VISUAL comes before EDITOR, vi after both, and an open quote is an error", () => {
  expect(editorArgv({ VISUAL: "code --wait", EDITOR: "nano" })).toEqual(["code", "--wait"])
  expect(editorArgv({ VISUAL: "  ", EDITOR: "nano" })).toEqual(["nano"])
  expect(editorArgv({})).toEqual(["vi"])
  expect(errorOf(() => editorArgv({ EDITOR: "'vim" })).exitCode).toBe(2)
})

test("a choice is a number, a name, or the beginning of exactly one name", () => {
  const names = ["planner", "reviewer", "researcher"]
  expect(chosen("2", names)).toBe("reviewer")
  expect(chosen("planner", names)).toBe("planner")
  expect(chosen("pl", names)).toBe("planner")
  expect(chosen("re", names)).toBeUndefined()
  expect(chosen("0", names)).toBeUndefined()
  expect(chosen("4", names)).toBeUndefined()
  expect(chosen("", names)).toBeUndefined()
})

test("tables keep within the terminal, wide characters and colours counted right", () => {
  const rows = [
    ["\u001b[36mshort\u001b[39m", "a".repeat(100)],
    ["日本語の名前", "b"],
  ]
  const lines = aligned(rows, 40)
  expect(lines.map(widthOf)).toEqual([40, 15])
  expect(lines[1]).toBe("日本語の名前  b")
  expect(cut("日本語", 4)).toBe("日…")
  expect(cut("abc", 3)).toBe("abc")
})

test("an error's text is broken at spaces, and what is longer stays whole", () => {
  expect(wrapped("aa bb cc", 5)).toEqual(["aa bb", "cc"])
  expect(wrapped(`x ${"p".repeat(30)} y`, 10)).toEqual(["x", "p".repeat(30), "y"])
})

function typed(...keys: string[]): { answer: string | undefined; shown: string } {
  let shown = ""
  const line = new LineEditor((text) => {
    shown += text
  })
  let answer: string | undefined
  for (const key of keys) answer ??= line.take(key)
  return { answer, shown }
}

test("a line can be edited while it is typed: erase, erase word, erase line", () => {
  expect(typed("abc\u007f\u007fX\r").answer).toBe("aX")
  expect(typed("one two\u0017three\r").answer).toBe("one three")
  expect(typed("wrong\u0015right\r").answer).toBe("right")
  expect(typed("日\u007f\r")).toEqual({ answer: "", shown: "日\b \b\b \b" })
  expect(typed("\u007f\u007f\r").answer).toBe("")
})

test("arrow keys and other sequences leave nothing in the answer", () => {
  expect(typed("a\u001b[A\u001b[1;5Cb\u001bOPc\u001bxd\r").answer).toBe("abcd")
})

test("Ctrl-C leaves with status 130, Ctrl-D only on an empty line", () => {
  const error = errorOf(() => typed("abc\u0003"))
  expect(error).toBeInstanceOf(BottleError)
  expect(error.exitCode).toBe(130)
  expect(errorOf(() => typed("\u0004")).exitCode).toBe(130)
  expect(typed("a\u0004b\r").answer).toBe("ab")
})

/** Words that YAML would take for something else, and one of each kind of quoting. */
const WORDS = [
  "bash",
  "-l",
  "{prompt}",
  "true",
  "1e3",
  "",
  "a: b # c",
  "two\nlines",
  "'\"\\",
  "--x=[1, 2]",
  "-",
  "~",
]

test("what init writes is what the loader reads", () => {
  using home = new ManifestHome({
    "bottles/claude.md": bottleText({ template: "claude", tokenEnv: "CLAUDE_CODE_OAUTH_TOKEN" }),
    "bottles/api.md": bottleText({ template: "claude", tokenEnv: "ANTHROPIC_API_KEY" }),
    "bottles/shell.md": bottleText({ template: "command", command: WORDS }),
    "agents/a.md": agentText({
      bottle: "claude",
      skills: ["tidy-up"],
      prompt: "--- be brief\n---\nand kind",
    }),
  })
  const manifests = home.load()
  expect(manifests.bottle("claude").routes[0]?.auth).toEqual({
    scheme: "bearer",
    token: { kind: "env", variable: "CLAUDE_CODE_OAUTH_TOKEN" },
  })
  expect(manifests.bottle("api").routes[0]?.auth?.scheme).toBe("header:x-api-key")
  expect(manifests.bottle("shell")).toMatchObject({
    provider: { template: "command", command: WORDS },
    routes: [],
  })
  expect(manifests.agent("a")).toMatchObject({ skills: ["tidy-up"], prompt: "--- be brief\n---\nand kind" })
})
