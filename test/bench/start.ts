/** `bun run bench start [--backend docker|bubblewrap]`: how long a start takes, on a warm machine. */
import { parseArgs } from "node:util"
import type { BenchResult } from "./harness.ts"

export async function bench(args: string[]): Promise<BenchResult> {
  const { values } = parseArgs({ args, options: { backend: { type: "string", default: "docker" } } })
  if (values.backend === "docker") return (await import("./parts/start-docker.ts")).benchDocker()
  if (values.backend === "bubblewrap") return (await import("./parts/start-bubblewrap.ts")).benchBubblewrap()
  throw new Error(`there is no bench for the backend ${values.backend}`)
}
