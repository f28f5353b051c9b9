/** What the host knows about one bottle: `metadata.json` in its state folder. It holds no secret. */
import * as z from "zod/mini"
import { once } from "../policy/lazy.ts"
import { ledgerHead } from "../policy/ledger.ts"
import { TERMINAL_PERMISSIONS } from "../policy/terminal/permission.ts"
import { workspaceState } from "../policy/wire/lifeline.ts"
import { BottleError } from "../runtime/error.ts"
import { IN_ENGLISH, schemaFault } from "../runtime/schema-fault.ts"
import { parseIdentity } from "./identity.ts"

/** Schema version that this program writes */
export const METADATA_VERSION = 1

/** Largest metadata file that is read, in bytes */
export const METADATA_MAX_BYTES = 256 * 1024

export const owner = once(() =>
  z.strictObject({
    /** Process id */
    pid: z.int().check(z.minimum(1)),
    /** Start of the process: clock ticks after boot on Linux, UTC date text on macOS */
    start_time: z.string().check(z.minLength(1), z.maxLength(64)),
    /** Name of the machine's boot */
    boot_id: z.string().check(z.maxLength(64)),
    /** Name of the pid namespace, empty where the system has none */
    pid_namespace: z.string().check(z.maxLength(64)),
  }),
)

export const metadata = once(() =>
  z.strictObject({
    /** Schema version of this file */
    version: z.literal(METADATA_VERSION),
    /** `<agent>-<5 base36>`, the name of the state folder */
    identity: z.string().check(z.refine((text) => parseIdentity(text) !== undefined, "is not an identity")),
    /** Name of the agent's manifest */
    agent: z.string().check(z.minLength(1), z.maxLength(64)),
    /** Name of the bottle's manifest */
    bottle: z.string().check(z.minLength(1), z.maxLength(64)),
    backend: z.enum(["docker", "smolmachines", "bubblewrap"]),
    provider: z.strictObject({
      name: z.enum(["claude", "codex", "command"]),
      /** Version of the provider's tool, empty for `command` */
      version: z.string().check(z.maxLength(64)),
    }),
    workspace: z.discriminatedUnion("mode", [
      z.strictObject({ mode: z.literal("empty") }),
      z.strictObject({
        mode: z.literal("copy"),
        /** Absolute host path of the folder that was copied */
        source: z.string().check(z.startsWith("/"), z.maxLength(4096)),
      }),
    ]),
    images: z.strictObject({
      /** Reference of the agent's image, empty on backends without images */
      agent: z.string().check(z.maxLength(512)),
      /** Reference of the gateway's image, empty on backends without images */
      gateway: z.string().check(z.maxLength(512)),
    }),
    /** Name of the Compose project, empty on other backends */
    compose_project: z.string().check(z.maxLength(128)),
    /** RFC 3339 time of the start, UTC */
    started_at: z.iso.datetime(),
    /** Head of the ledger when this file was written */
    ledger_head: ledgerHead(),
    /**
     * `starting`: no agent has run since the last start; `running`: written before the agent's process starts, so
     * that its work is never taken for nothing; `ended`: the agent is gone
     */
    phase: z.enum(["starting", "running", "ended"]),
    /** Process that last started or ended the bottle */
    owner: owner(),
    /** What the agent's output may do to terminals that are joined to it, beyond their screens; absent: nothing */
    terminal_allow: z.optional(z.array(z.enum(TERMINAL_PERMISSIONS))),
    /** How the agent ended; present when the phase is `ended` and the end was seen */
    exit: z.optional(
      z.strictObject({
        /** Exit status of the agent */
        code: z.int(),
        /** RFC 3339 time, UTC */
        at: z.iso.datetime(),
        workspace: workspaceState(),
      }),
    ),
  }),
)

export type Metadata = z.infer<ReturnType<typeof metadata>>

/**
 * Text of the file. The value is checked first, so that nothing is written which could not be read back; but not while
 * the bottle is starting: a start is in a hurry, writes once more before its agent exists, and is taken back when that
 * fails.
 */
export function formatMetadata(value: Metadata): string {
  const checked = value.phase === "starting" ? value : metadata().parse(value)
  return `${JSON.stringify(checked, null, 2)}\n`
}

/** Reads the file's text. `file` is its path, for messages. */
export function parseMetadata(text: string, file: string): Metadata {
  const fault = (why: string) =>
    new BottleError({
      what: `${file} cannot be read`,
      why,
      next: "If nothing in its folder is needed any more, remove the folder",
    })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw fault("it is not JSON: it was changed or cut short")
  }
  const version = (value as { version?: unknown } | null)?.version
  if (typeof version === "number" && version > METADATA_VERSION) {
    throw new BottleError({
      what: `${file} was written by a newer bottle`,
      why: `its schema version is ${version}, this program knows ${METADATA_VERSION}`,
      next: "Use the newer bottle for it",
    })
  }
  const read = metadata().safeParse(value, IN_ENGLISH)
  if (read.success) return read.data
  throw fault(schemaFault(read.error, "the file"))
}
