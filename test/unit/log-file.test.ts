import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { LogFile } from "../../sidecars/init/log-file.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

test("a line of a sandbox's is logged whole, but for what would steer a terminal or begin a line of its own", () => {
  using folder = temporaryFolder()
  const path = join(folder.path, "gateway.log")
  new LogFile(path).write("sandbox", "plain \u001b]0;owned\u0007 and\n2030-01-01 [init] forged")
  const [line = "", ...rest] = readFileSync(path, "utf8").split("\n")
  expect(line.slice(line.indexOf("["))).toBe("[sandbox] plain ?]0;owned? and?2030-01-01 [init] forged")
  expect(rest).toEqual([""])
})
