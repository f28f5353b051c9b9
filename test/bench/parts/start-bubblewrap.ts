/**
 * `bottle start` with bubblewrap to the first byte that its command writes, wall tried and gateway loaded, against
 * sandbox-runtime (`srt`), which starts a proxy with less to do, for the same command. Ending them is not measured. srt
 * runs as it is published, on a Node.js that it asks for; on Bun, which it does not mention, it is measured beside it.
 */
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { lastLines, run } from "../../../src/runtime/spawn.ts"
import { temporaryFolder } from "../../fixtures/temporary-folder.ts"
import { alternate, type BenchResult, type Figures, median } from "../harness.ts"
import { PROJECT, plainHome } from "./bottle-home.ts"

const BINARY = join(PROJECT, "dist", "bottle")
const SRT = "@anthropic-ai/sandbox-runtime"
const SRT_VERSION = "0.0.83"
/** Of the kind that its package.json asks for */
const NODE_VERSION = "24.21.0"
const ROUNDS = 15
/** Most that a start may take, in milliseconds, and as a share of what srt takes */
const START_MAX_MS = 150
const SHARE_MAX = 0.5

export async function benchBubblewrap(): Promise<BenchResult> {
  if (!existsSync(BINARY)) throw new Error("build the binary first: bun scripts/build.ts")
  using folder = temporaryFolder()
  const home = plainHome(folder.path, "echo", ["echo", "hi"])
  const { srt, node } = await installedSrt()
  const settings = srtSettings(folder.path)
  const phases: Record<string, number[]> = {}
  const env = { PATH: process.env.PATH ?? "", HOME: folder.path, BOTTLE_HOME: home, TERM: "xterm" }
  const times = await alternate(
    {
      bottle: () => firstByte([BINARY, "start", "echo", "--yes", "--profile"], folder.path, env, phases),
      srt: () => firstByte([node, srt, "--settings", settings, "echo", "hi"], folder.path, env),
      srtOnBun: () =>
        firstByte([process.execPath, srt, "--settings", settings, "echo", "hi"], folder.path, env),
    },
    ROUNDS,
  )
  const bottle = median(times.bottle)
  const other = median(times.srt)
  const figures: Figures = {
    bottle_ms: bottle,
    srt_ms: other,
    share: bottle / other,
    srt_on_bun_ms: median(times.srtOnBun),
  }
  for (const [name, values] of Object.entries(phases)) figures[`phase_${name}_ms`] = median(values)
  return {
    bench: "start --backend bubblewrap",
    figures,
    targets: { bottle_ms: { max: START_MAX_MS }, share: { max: SHARE_MAX } },
  }
}

/** Milliseconds to the first byte on stdout; the program then ends by itself. */
async function firstByte(
  argv: string[],
  cwd: string,
  env: Record<string, string>,
  phases?: Record<string, number[]>,
): Promise<number> {
  const from = performance.now()
  const [file = "", ...args] = argv
  const child = spawn(file, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] })
  let took: number | undefined
  let stderr = ""
  child.stdout.on("data", () => {
    took ??= performance.now() - from
  })
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", resolve)
  })
  if (code !== 0 || took === undefined)
    throw new Error(`${argv.slice(0, 3).join(" ")}: ${lastLines(stderr, 6)}`)
  for (const [, name = "", ms = "0"] of stderr.matchAll(/^ *\d+ ms (\w+) +(\d+) ms$/gm)) {
    if (phases !== undefined) phases[name] = [...(phases[name] ?? []), Number(ms)]
  }
  return took
}

/** The same that our bottle may: nothing outside but one host, its own folder to write to. */
function srtSettings(folder: string): string {
  const path = join(folder, "srt.json")
  const settings = {
    network: { allowedDomains: ["api.example.com"], deniedDomains: [] },
    filesystem: { denyRead: [], allowWrite: [folder], denyWrite: [] },
  }
  writeFileSync(path, JSON.stringify(settings))
  return path
}

/** The program's file and a Node.js for it, installed once beside the binary. */
async function installedSrt(): Promise<{ srt: string; node: string }> {
  const folder = join(PROJECT, "dist", "bench-srt")
  const modules = join(folder, "node_modules")
  const srt = join(modules, SRT, "dist", "cli.js")
  const nodePackage = `node-${process.platform}-${process.arch}`
  const node = join(modules, nodePackage, "bin", "node")
  if (existsSync(srt) && existsSync(node)) return { srt, node }
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true }))
  const wanted = [`${SRT}@${SRT_VERSION}`, `${nodePackage}@${NODE_VERSION}`]
  const added = await run([process.execPath, "add", "--exact", ...wanted], { cwd: folder })
  if (added.code !== 0) throw new Error(`cannot install ${wanted.join(", ")}: ${lastLines(added.stderr, 6)}`)
  return { srt, node }
}
