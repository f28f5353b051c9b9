import { expect, test } from "bun:test"
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { writeFiles } from "../../sidecars/inner/provision.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

/** Name under which a file is written before it gets its own */
const PART = ".bottle.part"

test.each<[string, (path: string, outside: string) => void]>([
  ["a file", (path) => writeFileSync(path, "half")],
  ["a link that leads out", (path, outside) => symlinkSync(outside, path)],
  ["a folder with something in it", (path) => mkdirSync(join(path, "more"), { recursive: true })],
])("files are written past %s that an earlier session left in their way", (_, leave) => {
  using folder = temporaryFolder()
  const home = join(folder.path, "home")
  const outside = join(folder.path, "outside")
  mkdirSync(join(home, ".tool"), { recursive: true })
  writeFileSync(outside, "as it was")
  leave(join(home, ".tool", PART), outside)
  const path = join(home, ".tool", "settings")
  writeFiles([{ path, mode: 0o640, content: "new" }], home)
  expect(readFileSync(path, "utf8")).toBe("new")
  expect(lstatSync(path).mode & 0o777).toBe(0o640)
  expect(readFileSync(outside, "utf8")).toBe("as it was")
  expect(readdirSync(join(home, ".tool"))).toEqual(["settings"])
})
