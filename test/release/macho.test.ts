import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { compile } from "../../scripts/release/compile.ts"
import { readMachO } from "../../scripts/release/macho.ts"
import { releaseRuntimes } from "../../scripts/release/runtimes.ts"
import { signAdHoc } from "../../scripts/release/sign.ts"
import type { Target } from "../../scripts/release/targets.ts"
import { assetsOf } from "../../src/runtime/assets.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const project = join(import.meta.dirname, "..", "..")
const runtimeOf = await releaseRuntimes(project)
const assets = await assetsOf(project)
const ARCHS = ["arm64", "x64"] as const

/** What Bun makes for macOS, before we sign it. */
async function compiled(arch: Target["arch"]): Promise<Buffer> {
  using folder = temporaryFolder()
  const target: Target = { os: "darwin", arch }
  const outfile = join(folder.path, "bottle")
  await compile({ project, assets, outfile, cross: { target, runtime: runtimeOf(target) } })
  return readFileSync(outfile)
}

for (const arch of ARCHS) {
  test(`the check finds the signature of Bun's makers on their ${arch} runtime to hold`, () => {
    const { signature, ...rest } = readMachO(readFileSync(runtimeOf({ os: "darwin", arch })))
    expect(rest).toEqual({ arch })
    expect(signature).toEqual({ identifier: "bun", adHoc: false, faults: [] })
  })

  test(`what is compiled for macOS on ${arch} gets an ad-hoc signature over all of it`, async () => {
    const signed = signAdHoc(await compiled(arch), "bottle")
    expect(readMachO(signed)).toEqual({ arch, signature: { identifier: "bottle", adHoc: true, faults: [] } })
  })
}

test("our signature is, byte for byte, the one that Bun makes where it makes one", async () => {
  const bySelf = await compiled("arm64")
  const { identifier } = readMachO(bySelf).signature!
  expect(signAdHoc(bySelf, identifier).equals(bySelf)).toBe(true)
})

test("what Bun compiles for x64 does not hold before we sign it", async () => {
  expect(readMachO(await compiled("x64")).signature!.faults).not.toEqual([])
})

test("one changed byte in what was signed is found", async () => {
  const signed = signAdHoc(await compiled("arm64"), "bottle")
  for (const at of [40, Math.floor(signed.length / 2)]) {
    signed[at]! ^= 1
    expect(readMachO(signed).signature!.faults).toEqual([expect.stringMatching(/^1 of \d+ pages differ/)])
    signed[at]! ^= 1
  }
  expect(readMachO(signed).signature!.faults).toEqual([])
})

test("a file that is no Mach-O is refused", () => {
  expect(() => readMachO(readFileSync(process.execPath))).toThrow("not a 64-bit Mach-O file")
})
