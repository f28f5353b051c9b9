/** Whoever holds an ended program's output open does not hold its host. */
import { expect, test } from "bun:test"
import { SessionWorld } from "../fixtures/session-host.ts"

test("a command ends for its host though something writes into its output for ever, a little at a time", async () => {
  await using world = await SessionWorld.create()
  const host = await world.sh("(while :; do echo more; sleep 0.3; done) & echo $!; exit 7")
  const left = Number.parseInt(await host.sees("\n"), 10)
  try {
    expect(await host.ended).toEqual({ kind: "exit", code: 7 })
    expect(host.output.toString()).toStartWith(`${left}\n`)
  } finally {
    process.kill(left, "SIGKILL")
  }
}, 30_000)
