import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { type FormulaParts, formulaText } from "../../scripts/release/formula.ts"
import { binaryName, TARGETS } from "../../scripts/release/targets.ts"
import { run } from "../../src/runtime/spawn.ts"

const sums = Object.fromEntries(
  TARGETS.map((target) => [
    binaryName(target),
    createHash("sha256").update(binaryName(target)).digest("hex"),
  ]),
)
const parts: FormulaParts = {
  version: "1.2.3",
  description: "Run things",
  homepage: "https://bottle.example",
  baseUrl: "https://bottle.example/releases/v1.2.3",
  license: "MIT",
  sums,
}

/** What Ruby makes of a formula on one machine. */
async function evaluated(formula: string, os: string, cpu: string) {
  const reader = join(import.meta.dirname, "..", "fixtures", "formula-reader.rb")
  const read = await run(["ruby", "-w", reader, os, cpu], { input: formula })
  expect(read).toMatchObject({ code: 0, stderr: "" })
  return JSON.parse(read.stdout)
}

for (const [os, cpu, binary] of [
  ["macos", "arm", "bottle-darwin-arm64"],
  ["macos", "intel", "bottle-darwin-x64"],
  ["linux", "arm", "bottle-linux-arm64"],
  ["linux", "intel", "bottle-linux-x64"],
] as const) {
  test(`on ${os} with ${cpu}, Ruby reads the address and the sum of ${binary}, and installs it as bottle`, async () => {
    expect(await evaluated(formulaText(parts), os, cpu)).toEqual({
      class: "Bottle",
      desc: "Run things",
      homepage: "https://bottle.example",
      version: "1.2.3",
      license: "MIT",
      url: `https://bottle.example/releases/v1.2.3/${binary}`,
      sha256: sums[binary],
      dependencies: os === "linux" ? [{ bubblewrap: "recommended" }] : [],
      installed: { [binary]: "bottle" },
      tested: true,
    })
  })
}

test("a text from outside stays a text, whatever Ruby would make of it", async () => {
  const description = `a "quoted" \\ #{abort} \`id\` #$0 thing`
  const read = await evaluated(formulaText({ ...parts, description }), "linux", "intel")
  expect(read.desc).toBe(description)
})

test("a formula that lacks a sum is not written", () => {
  const { "bottle-darwin-arm64": _, ...rest } = sums
  expect(() => formulaText({ ...parts, sums: rest })).toThrow("no checksum of bottle-darwin-arm64")
})
