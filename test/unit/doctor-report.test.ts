/** How doctor shows what it found. */
import { expect, test } from "bun:test"
import { met, unmet, worse } from "../../src/backend/need.ts"
import type { BackendNeeds } from "../../src/backend/registry.ts"
import { findingsData, findingsText, mendLines, works } from "../../src/cli/doctor/report.ts"
import { type Paint, widthOf } from "../../src/runtime/output.ts"

const plain = (text: string) => text
const PLAIN: Paint = { strong: plain, dim: plain, good: plain, warn: plain, bad: plain, name: plain }
const style = (code: number) => (text: string) => `\u001b[${code}m${text}\u001b[0m`
const COLOUR: Paint = {
  strong: style(1),
  dim: style(2),
  good: style(32),
  warn: style(33),
  bad: style(31),
  name: style(36),
}

const LONG =
  "sudo apt install docker-ce docker-ce-cli docker-compose-plugin docker-buildx-plugin containerd.io"
const backends: BackendNeeds[] = [
  {
    backend: "docker",
    served: true,
    needs: [met("engine", "26.1.5"), unmet("Compose", "Docker has no Compose plugin", LONG)],
  },
  { backend: "smolmachines", served: false, needs: [] },
  {
    backend: "bubblewrap",
    served: true,
    needs: [met("bwrap", "0.9.0"), worse("limits", `not enforced: ${"memory, ".repeat(20)}cpus`)],
  },
]
const needs = [unmet("home", "~/.bottle cannot be written", "chmod u+rwx ~/.bottle"), met("TERM", "xterm")]

test("fits 80 columns, with colours as without, and says in words what the colours say", () => {
  const text = findingsText({ backends, needs }, 80, PLAIN)
  const coloured = findingsText({ backends, needs }, 80, COLOUR)
  expect(coloured).not.toBe(text)
  expect(coloured.replace(/\u001b\[\d+m/g, "")).toBe(text)
  expect(text.split("\n").filter((line) => widthOf(line) > 80)).toEqual([])
  expect(text).toContain("  ok    engine   26.1.5\n")
  expect(text).toContain("  no    Compose  Docker has no Compose plugin\n")
  expect(text).toContain("  note  limits   not enforced: ")
  expect(text).toContain("docker  does not work: Compose\n")
  expect(text).toContain("smolmachines  known, and not served by this version yet\n")
  expect(text).toContain("bubblewrap  works\n")
  expect(text.trimEnd()).toEndWith("Works here: bubblewrap.")
  expect(coloured).toContain("\u001b[31mno\u001b[0m")
})

test("each need that is not met is followed by its command, which a shell takes as it stands", () => {
  const lines = findingsText({ backends, needs }, 80, PLAIN).split("\n")
  expect(lines[lines.findIndex((line) => line.includes("~/.bottle cannot")) + 1]).toBe(
    "        chmod u+rwx ~/.bottle",
  )
  const folded = lines.slice(lines.findIndex((line) => line.includes("no    Compose")) + 1).slice(0, 2)
  expect(folded[0]).toEndWith(" \\")
  const { stdout } = Bun.spawnSync(["sh", "-c", `echo ${folded.join("\n")}`])
  expect(stdout.toString().trim()).toBe(LONG)
})

test("a command with quotes is never folded, and each of several lines stands by itself", () => {
  const quoted = `printf '%s' '${"x ".repeat(60)}' | tee file`
  expect(mendLines(`${quoted}\nsecond`, 72)).toEqual([quoted, "second"])
  expect(mendLines("", 72)).toEqual([])
})

test("nothing that a tool said reaches the terminal as a control character", () => {
  const hostile = unmet("bwrap", "\u001b]0;owned\u0007\u202e", "apt \u001b[2J install")
  const text = findingsText({ backends: [], needs: [hostile] }, 80, PLAIN)
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
})

test("a backend works when this version serves it and nothing that it must have is missing", () => {
  expect(backends.map(works)).toEqual([false, false, true])
  expect(works({ backend: "bubblewrap", served: false, needs: [met("bwrap", "")] })).toBe(false)
  expect(works({ backend: "docker", served: true, needs: [] })).toBe(false)
  expect(findingsData({ backends, needs }).ok).toBe(true)
  // A note keeps nothing from working, and bottle's own needs are not a backend's.
  const data = findingsData({ backends: backends.slice(0, 2), needs: [met("home", "")] })
  expect(data.ok).toBe(false)
  expect(data.backends.map(({ name, served, ok }) => ({ name, served, ok }))).toEqual([
    { name: "docker", served: true, ok: false },
    { name: "smolmachines", served: false, ok: false },
  ])
  expect(findingsText({ backends: backends.slice(0, 2), needs: [] }, 80, PLAIN)).toContain("No backend works")
})
