/** The linux binary on a machine that has nothing of its making: no Bun, no Node.js, no sources. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { TRIALS, tryAlone } from "../../scripts/release/alone.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const project = join(import.meta.dirname, "..", "..")

setDefaultTimeout(600_000)

for (const trial of TRIALS) {
  test(`the binary alone: ${trial}`, () =>
    tryAlone({ binary: join(project, "dist", "bottle"), project, trials: [trial] }))
}

test("control: a program that needs the sources, or Node.js, does not get through", async () => {
  using folder = temporaryFolder()
  const needy = (line: string) => {
    const path = join(folder.path, "needy")
    writeFileSync(path, `#!/bin/sh\n${line} && echo '{"ok":true}' && echo '{"ok":true}'\n`)
    chmodSync(path, 0o755)
    return tryAlone({ binary: path, project, trials: ["demo"] })
  }
  await needy("true")
  for (const line of [`cat '${join(project, "package.json")}' >/dev/null`, "node --version >/dev/null"])
    expect(await needy(line).then(() => "ran", String)).toContain("does not get through")
})
