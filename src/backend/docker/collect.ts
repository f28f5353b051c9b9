/** Copies what is worth keeping out of an ended bottle: the ledger, both logs, and how the agent ended. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { extract } from "tar-stream"
import { z } from "zod"
import { LEDGER_DIR } from "../../policy/paths.ts"
import { workspaceState } from "../../policy/wire/lifeline.ts"
import { run, spawnStreaming } from "../../runtime/spawn.ts"
import type { Remains } from "../types.ts"
import { namesOf } from "./names.ts"

/** The gateway's own files, and nothing else that could be in its volume. */
const LEDGER_FILE = /^[^/]+\/ledger\/(ledger-\d{6}\.jsonl)$/
const EXIT_FILE = /^[^/]+\/exit\.json$/
/** Largest file that is taken, in bytes: a ledger file is at most 8 MiB */
const FILE_MAX = 16 * 1024 * 1024
/** A log that takes longer than this is left behind, in milliseconds. */
const LOG_WITHIN_MS = 20_000

const exitNote = z.strictObject({ code: z.number().int(), workspace: workspaceState })

export async function collectBottle(
  identity: string,
  into: { ledger: string; log: string },
): Promise<Remains> {
  const names = namesOf(identity)
  const [exit] = await Promise.all([
    copyLedger(names.sidecars, into.ledger),
    copyLog(names.agent, join(into.log, "agent.log")),
    copyLog(names.sidecars, join(into.log, "sidecars.log")),
  ])
  return exit === undefined ? {} : { exit }
}

/** Works on running and on ended containers alike. */
async function copyLedger(container: string, folder: string): Promise<Remains["exit"]> {
  const source = `${container}:${LEDGER_DIR.slice(0, LEDGER_DIR.lastIndexOf("/"))}`
  await using child = spawnStreaming(["docker", "cp", source, "-"])
  child.stderr.resume()
  let exit: Remains["exit"]
  const reader = extract()
  child.stdout.pipe(reader)
  child.stdout.once("close", () => reader.end(null))
  for await (const entry of reader) {
    const { name, size = 0, type } = entry.header
    const ledger = LEDGER_FILE.exec(name)?.[1]
    if (type !== "file" || size > FILE_MAX || (ledger === undefined && !EXIT_FILE.test(name))) {
      entry.resume()
      continue
    }
    const parts: Buffer[] = []
    for await (const part of entry) parts.push(part as Buffer)
    const content = Buffer.concat(parts)
    if (ledger !== undefined) await writeFile(join(folder, ledger), content, { mode: 0o600 })
    else exit = exitNote.safeParse(JSON.parse(content.toString())).data
  }
  await child.exited
  return exit
}

async function copyLog(container: string, file: string): Promise<void> {
  const request = { timeoutMs: LOG_WITHIN_MS }
  const result = await run(["docker", "logs", "--timestamps", "--tail", "20000", container], request).catch(
    () => undefined,
  )
  if (result?.code === 0) await writeFile(file, result.stdout + result.stderr, { mode: 0o600 })
}
