/** What egress costs, through inner's relay, with TLS on both sides, against direct and against a bare terminator. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { route, startEgress } from "../fixtures/egress.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"
import { createTestAuthority } from "../fixtures/test-authority.ts"
import { loopbackAddress } from "../fixtures/tls-origin.ts"
import { alternate, type BenchResult, median } from "./harness.ts"
import type { Load, LoadResult } from "./parts/load.ts"
import { runPart, startPart } from "./parts/processes.ts"

const NAME = "origin.bench.test"
const ROUNDS = 5
const SECONDS = 2
const CONNECTIONS = 16

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
  const leaf = await authority.leaf([NAME, address])
  const certFile = file("cert.pem", leaf.cert)
  const keyFile = file("key.pem", leaf.key)

  await using _origin = await startPart("origin", [address, certFile, keyFile])
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
    routes: [route(NAME)],
    hosts: { [NAME]: address },
    extraCa: authority.cert,
  })
  await using relay = await startPart("relay", [egress.socket])

  const base = { address, name: NAME, connections: CONNECTIONS, seconds: SECONDS }
  const run = (load: Load) => runPart<LoadResult>("load", [JSON.stringify(load)])
  const results = await alternate(
    {
      direct: () => run({ ...base, ca: caFile }),
      bare: () => run({ ...base, ca: caFile, relayPort: bareRelay.port }),
      egress: () => run({ ...base, ca: egress.caFile, relayPort: relay.port }),
    },
    ROUNDS,
  )
  const of = (name: keyof typeof results, key: keyof LoadResult) =>
    median(results[name].map((one) => one[key]))
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
    },
    targets: { added_p50_ms: { max: 2 }, share_of_bare: { min: 0.5 } },
  }
}
