/** `bun run bench <name> [options]`: each bench is a file here that exports `bench()`. */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { type BenchResult, report } from "./harness.ts"

const SHARED = new Set(["main", "harness"])

const name = process.argv[2] ?? ""
const file = join(import.meta.dir, `${name}.ts`)
if (!/^[a-z0-9-]+$/.test(name) || SHARED.has(name) || !existsSync(file)) {
  const names = readdirSync(import.meta.dir)
    .filter((entry) => entry.endsWith(".ts"))
    .map((entry) => entry.slice(0, -3))
    .filter((entry) => !SHARED.has(entry))
  console.error(`bench: name one of: ${names.join(", ")}`)
  process.exit(2)
}
const { bench } = (await import(file)) as { bench: (args: string[]) => Promise<BenchResult> }
process.exit(report(await bench(process.argv.slice(3))))
