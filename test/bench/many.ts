/**
 * `bun run bench many`: fifty bottles on bubblewrap that idle at once. Whether all of them answer, what each of them
 * holds in memory with its gateway, what they do while there is nothing to do, and how long `list active` takes.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { run } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"
import { type BenchResult, median } from "./harness.ts"
import { PROJECT, plainHome } from "./parts/bottle-home.ts"
import { cpuSeconds, descendants, proportionalBytes } from "./parts/process-tree.ts"

const BINARY = join(PROJECT, "dist", "bottle")
const BOTTLES = 50
/** Starts and calls at once; the machine has few cores */
const AT_ONCE = 4
const LISTINGS = 9
/** Time between the last start and the first look, and between two looks, in milliseconds */
const SETTLE_MS = 30_000
const IDLE_MS = 20_000
const LIST_MAX_MS = 200
const MEMORY_MAX_MB = 50
/** Most that all of them together may use of one processor: a thousandth each */
const IDLE_MAX_PERCENT = 5
const MB = 1024 * 1024

export async function bench(): Promise<BenchResult> {
  if (!existsSync(BINARY)) throw new Error("build the binary first: bun scripts/build.ts")
  using folder = temporaryFolder()
  const home = plainHome(folder.path, "idle", ["sleep", "100000"])
  const env = { PATH: process.env.PATH ?? "", HOME: folder.path, BOTTLE_HOME: home, TERM: "xterm" }
  const bottle = (...args: string[]) => run([BINARY, ...args], { env, cwd: folder.path })
  await using started = new AsyncDisposableStack()
  const identities: string[] = []
  await inTurn(BOTTLES, async () => {
    const { code, stdout, stderr } = await bottle("start", "idle", "--detach", "--yes")
    if (code !== 0) throw new Error(`a start failed: ${stderr}`)
    const identity = stdout.trim()
    identities.push(identity)
    started.defer(async () => void (await bottle("stop", identity)))
  })
  let answered = 0
  await inTurn(BOTTLES, async (number) => {
    const { code, stdout } = await bottle("exec", identities[number] ?? "", "--", "hostname")
    if (code === 0 && stdout.trim() === identities[number]) answered += 1
  })
  await delay(SETTLE_MS)
  const listings: number[] = []
  for (let round = 0; round < LISTINGS; round += 1) {
    const from = performance.now()
    const { stdout } = await bottle("list", "active")
    listings.push(performance.now() - from)
    const missing = identities.filter((identity) => !stdout.includes(identity))
    if (missing.length > 0) throw new Error(`not listed: ${missing.join(", ")}`)
  }
  const keepers = await Promise.all(
    identities.map(async (identity) => {
      const note = join(home, "state", identity, "gateway", "keeper.pid")
      return (await Bun.file(note).json()).pid as number
    }),
  )
  const trees = keepers.map(descendants)
  const before = cpuSeconds(trees.flat())
  await delay(IDLE_MS)
  const used = cpuSeconds(trees.flat()) - before
  const held = trees.map((tree) => proportionalBytes(tree) / MB)
  const figures = {
    bottles: BOTTLES,
    answered,
    list_ms: median(listings),
    memory_mb: median(held),
    memory_max_mb: Math.max(...held),
    idle_cpu_percent: (used / (IDLE_MS / 1000)) * 100,
  }
  return {
    bench: "many",
    figures,
    targets: {
      answered: { min: BOTTLES },
      list_ms: { max: LIST_MAX_MS },
      memory_max_mb: { max: MEMORY_MAX_MB },
      idle_cpu_percent: { max: IDLE_MAX_PERCENT },
    },
  }
}

/** Does it `count` times, a few at once. */
async function inTurn(count: number, action: (number: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) {
      const number = next
      next += 1
      await action(number)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}
