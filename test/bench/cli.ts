/**
 * The compiled binary where it must feel instant: `--version`, and `list active` with nothing running, against the
 * smallest program there is, to show what of the time is the machine's.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"
import { PROJECT } from "../docker/world.ts"
import { alternate, type BenchResult, median } from "./harness.ts"

const BINARY = join(PROJECT, "dist", "bottle")
const ROUNDS = 15

export async function bench(): Promise<BenchResult> {
  if (!existsSync(BINARY)) throw new Error("build the binary first: bun scripts/build.ts")
  const home = mkdtempSync(join(tmpdir(), "bottle-bench-"))
  try {
    const env = { ...process.env, BOTTLE_HOME: home }
    const timed = (argv: string[]) => async () => {
      const from = performance.now()
      const { code, stderr } = await run(argv, { env })
      if (code !== 0) throw new Error(`${argv.join(" ")} left with ${code}: ${stderr}`)
      return performance.now() - from
    }
    const times = await alternate(
      {
        nothing: timed(["/bin/true"]),
        version: timed([BINARY, "--version"]),
        list: timed([BINARY, "list", "active"]),
      },
      ROUNDS,
    )
    const nothing = median(times.nothing)
    const figures = {
      nothing_ms: nothing,
      version_ms: median(times.version),
      list_active_ms: median(times.list),
      version_ratio: median(times.version) / nothing,
    }
    return { bench: "cli", figures, targets: { version_ms: { max: 10 }, list_active_ms: { max: 100 } } }
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}
