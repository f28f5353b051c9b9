/** What egress costs, through inner's relay, with TLS on both sides, against direct and against a bare terminator. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { route, startEgress } from "../fixtures/egress.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"
import { createTestAuthority } from "../fixtures/test-authority.ts"
import { loopbackAddress } from "../fixtures/tls-origin.ts"
import { alternate, type BenchResult, median } from "./harness.ts"
import type { EventsResult } from "./parts/events.ts"
import type { Load, LoadResult } from "./parts/load.ts"
import { runPart, startPart } from "./parts/processes.ts"

const NAME = "origin.bench.test"
const SLOW = "slow.bench.test"
const ROUNDS = 5
const SECONDS = 2
/** Daemons live for hours; their code is compiled after the first seconds of load */
const WARM_UP_SECONDS = 6
const CONNECTIONS = 16
const MIB = 1024 * 1024

export async function bench(): Promise<BenchResult> {
  using folder = temporaryFolder()
  const file = (name: string, text: string): string => {
    const path = join(folder.path, name)
    writeFileSync(path, text)
    return path
  }
  const authority = await createTestAuthority()
  const caFile = file("ca.pem", authority.cert)
  const address = loopbackAddress()
  const slowAddress = loopbackAddress()
  const leaf = await authority.leaf([NAME, SLOW, address])
  const certFile = file("cert.pem", leaf.cert)
  const keyFile = file("key.pem", leaf.key)

  await using _origin = await startPart("origin", [address, certFile, keyFile])
  await using _slow = await startPart("slow-origin", [slowAddress, certFile, keyFile])
  const bareSocket = join(folder.path, "bare.sock")
  await using _bare = await startPart("bare-terminator", [
    bareSocket,
    address,
    NAME,
    certFile,
    keyFile,
    caFile,
  ])
  await using bareRelay = await startPart("relay", [bareSocket])
  await using egress = await startEgress({
    routes: [route(NAME), route(SLOW)],
    hosts: { [NAME]: address, [SLOW]: slowAddress },
    extraCa: authority.cert,
  })
  await using relay = await startPart("relay", [egress.socket])

  const base = { address, name: NAME, connections: CONNECTIONS, seconds: SECONDS }
  const direct = { ...base, ca: caFile }
  const bare = { ...base, ca: caFile, relayPort: bareRelay.port }
  const through = { ...base, ca: egress.caFile, relayPort: relay.port }
  const run = (load: Load) => runPart<LoadResult>("load", [JSON.stringify(load)])
  for (const load of [bare, through]) await run({ ...load, seconds: WARM_UP_SECONDS })
  const results = await alternate(
    { direct: () => run(direct), bare: () => run(bare), egress: () => run(through) },
    ROUNDS,
  )
  const of = (name: keyof typeof results, key: keyof LoadResult) =>
    median(results[name].map((one) => one[key]))
  const events = async (load: Load) =>
    median((await runPart<EventsResult>("events", [JSON.stringify(load)])).delays)
  const delays = await alternate({ direct: () => events(direct), egress: () => events(through) }, ROUNDS)
  const growth = async (way: "down" | "up") => {
    const before = egress.memory().now
    egress.resetPeak()
    await runPart("stall", [JSON.stringify({ ...through, name: way === "up" ? SLOW : NAME }), way])
    return (egress.memory().peak - before) / MIB
  }
  return {
    bench: "egress",
    figures: {
      direct_rps: of("direct", "rps"),
      bare_rps: of("bare", "rps"),
      egress_rps: of("egress", "rps"),
      direct_p50_ms: of("direct", "p50"),
      bare_p50_ms: of("bare", "p50"),
      egress_p50_ms: of("egress", "p50"),
      egress_p99_ms: of("egress", "p99"),
      added_p50_ms: of("egress", "p50") - of("direct", "p50"),
      share_of_bare: of("egress", "rps") / of("bare", "rps"),
      sse_direct_ms: median(delays.direct),
      sse_egress_ms: median(delays.egress),
      sse_added_ms: median(delays.egress) - median(delays.direct),
      stalled_download_growth_mb: await growth("down"),
      stalled_upload_growth_mb: await growth("up"),
    },
    targets: {
      added_p50_ms: { max: 2 },
      share_of_bare: { min: 0.5 },
      sse_added_ms: { max: 5 },
      stalled_download_growth_mb: { max: 64 },
      stalled_upload_growth_mb: { max: 64 },
    },
  }
}
