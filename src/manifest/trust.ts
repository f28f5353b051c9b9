/**
 * Which agents of repositories the user has looked at and agreed to, by the hash of their file. Someone else's prompt
 * runs with the credentials of the user's bottle, so a changed file counts as a new one.
 */
import { mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import * as z from "zod/mini"
import { readBounded, writeDurably } from "../runtime/durable-file.ts"
import { BottleError, reasonOf } from "../runtime/error.ts"
import { waitForLock } from "../runtime/lock-file.ts"

/** Bytes of the file; some ten thousand entries */
const FILE_MAX = 4 * 1024 * 1024
/** Milliseconds that another command may take to note an agent of its own */
const LOCK_WAIT_MS = 5_000

const trustedFile = z.strictObject({
  /** Schema version of the file */
  version: z.literal(1),
  /** By SHA-256 of the agent's file, hex */
  agents: z.record(
    z.string().check(z.regex(/^[0-9a-f]{64}$/)),
    z.strictObject({
      /** Name of the agent */
      name: z.string(),
      /** Absolute path of the file when it was trusted */
      file: z.string(),
      /** When the user agreed, RFC 3339 */
      trusted_at: z.string(),
    }),
  ),
})

export interface Trust {
  /** Whether the user has agreed to an agent's file with this SHA-256 (hex) */
  isTrusted(hash: string): Promise<boolean>
  /** Notes that the user has agreed */
  trust(hash: string, about: { name: string; file: string }): Promise<void>
}

/** What the user has agreed to, kept in `trusted.json` of $BOTTLE_HOME. */
export function trustIn(home: string): Trust {
  const path = join(home, "trusted.json")
  return {
    isTrusted: async (hash) => Object.hasOwn((await read(path)).agents, hash),
    async trust(hash, about) {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      using _ = await waitForLock(`${path}.lock`, LOCK_WAIT_MS)
      const known = await read(path)
      known.agents[hash] = { name: about.name, file: about.file, trusted_at: new Date().toISOString() }
      await writeDurably(path, `${JSON.stringify(known, null, 2)}\n`)
    },
  }
}

async function read(path: string): Promise<z.infer<typeof trustedFile>> {
  try {
    const bytes = await readBounded(path, FILE_MAX)
    if (bytes === undefined) return { version: 1, agents: {} }
    return trustedFile.parse(JSON.parse(bytes.toString("utf8")))
  } catch (error) {
    // To take a damaged file for an empty one would ask again, which is safe, but also overwrite it.
    throw new BottleError({
      what: `${path} cannot be read, so no agent of a repository can be started`,
      why: error instanceof z.core.$ZodError ? "it is not what bottle wrote there" : reasonOf(error),
      next: "Move it away; you will be asked about each of those agents again",
      cause: error,
    })
  }
}
