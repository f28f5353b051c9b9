/** Copies what is worth keeping out of an ended bottle: the ledger, both logs, and how the agent ended. */
import { createWriteStream } from "node:fs"
import { rename, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Transform } from "node:stream"
import { pipeline } from "node:stream/promises"
import { extract } from "tar-stream"
import { LEDGER_DIR } from "../../policy/paths.ts"
import { exitNote } from "../../policy/wire/lifeline.ts"
import { spawnStreaming } from "../../runtime/spawn.ts"
import type { Remains } from "../types.ts"
import { namesOf } from "./names.ts"

/** The gateway's own files, and nothing else that could be in its volume. */
const LEDGER_FILE = /^[^/]+\/ledger\/(ledger-\d{6}\.jsonl)$/
const EXIT_FILE = /^[^/]+\/exit\.json$/
/** Largest file that is taken, in bytes: a ledger file is at most 8 MiB */
const FILE_MAX = 16 * 1024 * 1024
/** Largest log that is taken, in bytes: twice what Docker keeps, for the time before each line */
const LOG_MAX = 40 * 1024 * 1024
/** What takes longer than this is left behind, in milliseconds: the ledger stays in its volume. */
const LOG_WITHIN_MS = 20_000
const LEDGER_WITHIN_MS = 120_000

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
  await using child = spawnStreaming(["docker", "cp", source, "-"], {
    signal: AbortSignal.timeout(LEDGER_WITHIN_MS),
  })
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
    else exit = parseExit(content.toString())
  }
  await child.exited
  return exit
}

/** A note that is not whole counts as none: how the agent ended was not seen. */
function parseExit(text: string): Remains["exit"] {
  try {
    return exitNote().safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

/**
 * Straight to the disk: an agent may have written more than is good for our memory. By rename, because the log of a
 * container that is gone by now was saved before. A failure costs the log alone.
 */
async function copyLog(container: string, file: string): Promise<void> {
  await using child = spawnStreaming(["docker", "logs", "--timestamps", "--tail", "20000", container], {
    signal: AbortSignal.timeout(LOG_WITHIN_MS),
  })
  const part = `${file}.part`
  try {
    await rm(part, { force: true })
    const room = { bytes: LOG_MAX }
    const save = (from: NodeJS.ReadableStream) =>
      pipeline(from, upTo(room), createWriteStream(part, { flags: "a", mode: 0o600 }))
    await Promise.all([save(child.stdout), save(child.stderr)])
    if ((await child.exited) === 0) await rename(part, file)
  } catch {
    // Told by the log that is not there.
  } finally {
    await rm(part, { force: true }).catch(() => undefined)
  }
}

/** Passes on what there is room for, and drops the rest. */
function upTo(room: { bytes: number }): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const taken = chunk.subarray(0, room.bytes)
      room.bytes -= taken.length
      done(null, taken)
    },
  })
}
