/** The wall is tried before there is an agent, and a start that finds a hole in it does not go on. */
import { expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { type Tampering, tamperingBwrap, tamperingCompose } from "../escape/tampering.ts"
import { NOTHING } from "./objects.ts"
import { type Kind, keptIdentity, onEveryBackend } from "./world.ts"

/** What is tried at least: interfaces, confinement, ways out by TCP and UDP, the gateway */
const PROBES_MIN = 7

interface Entry {
  seq: number
  kind: string
  data: Record<string, unknown>
}

/** Leaves the sandbox on the machine's own network. */
function hole({ backend }: Kind): Tampering {
  if (backend === "docker") return tamperingCompose('"network_mode":"none"', '"network_mode":"host"')
  return tamperingBwrap("sandbox", " --unshare-net", "")
}

onEveryBackend((world) => {
  test("the wall is tried before the agent starts, and the ledger says so", async () => {
    const identity = keptIdentity(await world().start("exit 3"))
    const log = await world().ok("log", identity, "--format", "json")
    const entries = log.split("\n").map((line) => JSON.parse(line) as Entry)
    const at = (kind: string) => entries.find((entry) => entry.kind === kind)
    expect(at("wall-probes")?.data.failed).toBe("")
    expect(at("wall-probes")?.data.tried).toBeGreaterThanOrEqual(PROBES_MIN)
    expect(at("wall-probes")?.seq).toBeLessThan(at("agent-start")?.seq ?? 0)
  })

  test("a sandbox on the machine's network gets no agent, and everything is taken back", async () => {
    using open = hole(world().kind)
    const env = open.env(world().env.PATH ?? "")
    const result = await world().start("echo it runs", { env })
    expect(existsSync(open.log)).toBe(true)
    expect(result).toMatchObject({ code: 1, stdout: "" })
    expect(result.stderr).toContain("The wall does not stand, so the agent was not started")
    expect(result.stderr).toContain("tcp 192.0.2.1:443")
    expect(await world().remains()).toEqual(NOTHING)
  })
})
