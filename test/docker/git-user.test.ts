/** The agent's git identity: set before it starts, and checked; the agent's manifest wins over the bottle's. */
import { expect, test } from "bun:test"
import { createScripted } from "./scripted.ts"

test("commits carry the name of the agent's manifest and the mail address of the bottle's", async () => {
  await using scripted = await createScripted()
  const { world } = scripted
  world.bottleFile(
    "named",
    'extends: scripted\ngit: { user: { name: "Bottle", email: "bottle@example.test" } }',
  )
  world.agentFile("scripted", 'bottle: named\ngit: { user: { name: "Agent" } }')
  const script =
    "cd /tmp && git init -q r && cd r && git commit -q --allow-empty -m x && git log --format='%an <%ae>'"
  const result = await scripted.start(script, { args: ["--prompt", "x"] })
  expect(result.stdout.trim()).toBe("Agent <bottle@example.test>")
  expect(result.code).toBe(0)
}, 600_000)
