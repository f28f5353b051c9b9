/**
 * The control protocol between the host program and init: one JSON request a line, one JSON answer a line, in order.
 * It runs over the control socket, which the sandbox does not see. `load` answers when every daemon is live.
 */
import * as z from "zod/mini"
import { once, union } from "../lazy.ts"
import { ledgerEntry, ledgerHead } from "../ledger.ts"
import { policy } from "../schema.ts"
import { launch, probe, probeResult, provisionFile, sessionRequest, workspaceState } from "./lifeline.ts"

export const controlRequest = union("op", {
  /** Everything the gateway needs to serve: sent at start and after the gateway restarted as a whole */
  load: () =>
    z.strictObject({
      op: z.literal("load"),
      ca: z.strictObject({ cert: z.string(), key: z.string() }),
      extra_ca: z.string(),
      tokens: z.record(z.string(), z.string()),
      policy: policy(),
    }),
  /** Replaces the policy; answers when it is live */
  policy: () => z.strictObject({ op: z.literal("policy"), policy: policy() }),
  /** Waits for inner, lets it write the agent's files */
  provision: () => z.strictObject({ op: z.literal("provision"), files: z.array(provisionFile()) }),
  /** Waits for inner, lets it try the wall, answers with the results */
  probe: () => z.strictObject({ op: z.literal("probe"), probes: z.array(probe()) }),
  /** Starts the agent; answers when its process runs */
  launch: () => z.strictObject({ op: z.literal("launch"), launch: launch() }),
  status: () => z.strictObject({ op: z.literal("status") }),
  /** Sends entries after `after`; with `follow` until the client goes or the bottle ends */
  ledger: () =>
    z.strictObject({ op: z.literal("ledger"), after: z.int().check(z.gte(0)), follow: z.boolean() }),
  /** Ends the agent, then the gateway */
  stop: () => z.strictObject({ op: z.literal("stop"), grace_ms: z.int().check(z.gte(0), z.lte(60_000)) }),
  /** Passes a signal on to the agent */
  signal: () => z.strictObject({ op: z.literal("signal"), signal: z.enum(["SIGINT", "SIGTERM"]) }),
  /** Joins the agent's streams, or runs a command beside it: after `joined` the connection carries its frames */
  session: () => z.strictObject({ op: z.literal("session"), request: sessionRequest() }),
})

export const daemonStatus = once(() =>
  z.strictObject({
    name: z.string(),
    state: z.enum(["starting", "live", "restarting", "stopped"]),
    /** How often it was restarted */
    restarts: z.int(),
  }),
)

export const gatewayStatus = once(() =>
  z.strictObject({
    /** `empty`: nothing loaded, everything is refused */
    state: z.enum(["empty", "loaded", "running", "ended", "halted"]),
    /** Generation that is live now, 0 when none */
    generation: z.int(),
    /** The live policy; absent when empty */
    policy: z.optional(policy()),
    daemons: z.array(daemonStatus()),
    /** How the agent ended, once it has */
    exit: z.optional(z.strictObject({ code: z.int(), workspace: workspaceState() })),
  }),
)

export const controlAnswer = union("type", {
  loaded: () => z.strictObject({ type: z.literal("loaded"), generation: z.int(), head: ledgerHead() }),
  provisioned: () => z.strictObject({ type: z.literal("provisioned"), head: ledgerHead() }),
  probed: () =>
    z.strictObject({ type: z.literal("probed"), results: z.array(probeResult()), head: ledgerHead() }),
  launched: () => z.strictObject({ type: z.literal("launched"), pid: z.int(), head: ledgerHead() }),
  status: () => z.strictObject({ type: z.literal("status"), status: gatewayStatus(), head: ledgerHead() }),
  /** A batch of ledger entries; the last batch of a request without `follow` has `end` */
  ledger: () =>
    z.strictObject({
      type: z.literal("ledger"),
      entries: z.array(ledgerEntry()),
      end: z.boolean(),
      head: ledgerHead(),
    }),
  stopped: () => z.strictObject({ type: z.literal("stopped"), head: ledgerHead() }),
  signalled: () => z.strictObject({ type: z.literal("signalled"), head: ledgerHead() }),
  /** From the next byte on the connection carries frames of wire/session.ts */
  joined: () => z.strictObject({ type: z.literal("joined"), head: ledgerHead() }),
  error: () =>
    z.strictObject({
      type: z.literal("error"),
      reason: z.string().check(z.maxLength(4096)),
      head: ledgerHead(),
    }),
})

export type ControlRequest = ReturnType<typeof controlRequest.parse>
export type ControlAnswer = ReturnType<typeof controlAnswer.parse>
export type GatewayStatus = z.infer<ReturnType<typeof gatewayStatus>>
export type DaemonStatus = z.infer<ReturnType<typeof daemonStatus>>

/** Longest line either side accepts, in bytes */
export const CONTROL_LINE_MAX = 16 * 1024 * 1024
