/**
 * What init and a daemon say to each other: one JSON object a line, commands on the daemon's stdin, reports on its
 * stdout. stderr is the daemon's log for people. The end of stdin means that init is gone: the daemon stops.
 */
import * as z from "zod/mini"
import { once, union } from "../lazy.ts"
import { ledgerEvent } from "../ledger.ts"
import { policy } from "../schema.ts"

/** What egress needs before it listens; sent anew to each egress process. */
export const egressLoad = once(() =>
  z.strictObject({
    type: z.literal("load"),
    /** Certificate authority of this bottle, PEM */
    ca: z.strictObject({ cert: z.string(), key: z.string() }),
    /** Corporate roots to trust towards upstreams, PEM, possibly empty */
    extra_ca: z.string(),
    /** Credential values by id */
    tokens: z.record(z.string(), z.string()),
    policy: policy(),
  }),
)

/** A new policy for a running egress. */
export const egressPolicy = once(() => z.strictObject({ type: z.literal("policy"), policy: policy() }))

/**
 * The gateway came up and nobody loaded it: the daemon listens and refuses everything with the text that says how to
 * reload. A `load` may follow.
 */
export const egressEmpty = once(() =>
  z.strictObject({
    type: z.literal("empty"),
    /** Command that reloads the gateway, for people: `bottle reload dev-k3x9a` */
    reload: z.string().check(z.maxLength(256)),
  }),
)

export const egressCommand = union("type", { load: egressLoad, policy: egressPolicy, empty: egressEmpty })

export const daemonReport = union("type", {
  /** The daemon listens, or has taken a policy: `generation` is live now */
  live: () => z.strictObject({ type: z.literal("live"), generation: z.int() }),
  /** A command was refused; what was live before stays live */
  refused: () =>
    z.strictObject({
      type: z.literal("refused"),
      generation: z.int(),
      reason: z.string().check(z.maxLength(1024)),
    }),
  /** Something for the ledger */
  event: () => z.strictObject({ type: z.literal("event"), event: ledgerEvent() }),
})

export type EgressLoad = z.infer<ReturnType<typeof egressLoad>>
export type EgressCommand = ReturnType<typeof egressCommand.parse>
export type DaemonReport = ReturnType<typeof daemonReport.parse>

/** Longest line either side accepts, in bytes: a policy of 1,024 routes with room to spare */
export const DAEMON_LINE_MAX = 8 * 1024 * 1024
