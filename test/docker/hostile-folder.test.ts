/** The folder a bottle is started from may be anyone's. */
import { expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { namesOf } from "../../src/backend/docker/names.ts"
import { createScripted, STAY } from "./scripted.ts"

test("a .env in the current folder, whole or broken, changes nothing of a bottle's containers", async () => {
  await using scripted = await createScripted()
  const { world } = scripted
  const hostile = ["COMPOSE_PROJECT_NAME=elsewhere", "HTTPS_PROXY=http://elsewhere.example:8080", "BROKEN 'x"]
  for (const lines of [hostile.slice(0, 2), hostile]) {
    writeFileSync(join(world.cwd, ".env"), `${lines.join("\n")}\n`)
    const identity = await scripted.detached(STAY)
    for (const container of [namesOf(identity).agent, namesOf(identity).sidecars]) {
      expect(await world.docker("inspect", container)).not.toContain("elsewhere")
    }
    await world.ok("stop", identity)
  }
})
