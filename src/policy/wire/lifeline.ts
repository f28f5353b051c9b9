/**
 * The lifeline between inner (process 1 of the sandbox) and init: one JSON object a line over one unix socket.
 * init takes exactly one connection, before the agent exists, and unlinks the socket; when it drops, the bottle ends.
 */
import * as z from "zod/mini"
import { once, union } from "../lazy.ts"
import { COMMAND_MAX, terminalSize } from "./session.ts"

/** One attempt that inner makes before the agent starts. */
export const probe = once(() =>
  z.discriminatedUnion("kind", [
    /** No interface but loopback may be up, and no route may exist */
    z.strictObject({ kind: z.literal("no-interfaces") }),
    /** The sandbox must be without capabilities, without a way to gain any, and behind a filter of system calls */
    z.strictObject({ kind: z.literal("confined") }),
    /** A TCP connection that must fail at once because there is no way out */
    z.strictObject({ kind: z.literal("tcp-refused"), host: z.string(), port: z.int() }),
    /** A UDP datagram that must not leave */
    z.strictObject({ kind: z.literal("udp-refused"), host: z.string(), port: z.int() }),
    /** The gateway must answer with this policy generation, over HTTP and over TLS that the system store verifies */
    z.strictObject({ kind: z.literal("gateway"), generation: z.int() }),
    /** A file that the backend copied in must be there, of this size in bytes */
    z.strictObject({ kind: z.literal("file"), path: z.string(), size: z.int() }),
  ]),
)

export const probeResult = once(() =>
  z.strictObject({
    /** What was tried, for people: `tcp 192.0.2.1:443` */
    name: z.string().check(z.maxLength(256)),
    /** True when the result is the one the wall must give */
    ok: z.boolean(),
    /** What happened */
    detail: z.string().check(z.maxLength(512)),
  }),
)

/** A file written into the agent's home before it starts. */
export const provisionFile = once(() =>
  z.strictObject({
    /** Absolute path below the agent's home */
    path: z.string().check(z.maxLength(1024)),
    /** Permission bits */
    mode: z.int().check(z.gte(0), z.lte(0o777)),
    content: z.string(),
  }),
)

/** A command that sets up the sandbox before the agent starts, run as the agent's user. */
export const setupCommand = once(() =>
  z.strictObject({
    /** For messages: `git user name` */
    name: z.string().check(z.maxLength(128)),
    argv: z.array(z.string()).check(z.minLength(1)),
    /** Run afterwards; its trimmed stdout must equal `expect` */
    check: z.optional(
      z.strictObject({ argv: z.array(z.string()).check(z.minLength(1)), expect: z.string() }),
    ),
  }),
)

/** How the agent is started. */
export const launch = once(() =>
  z.strictObject({
    /** Command and arguments of the agent */
    argv: z.array(z.string()).check(z.minLength(1)),
    /** Added after `argv` when a file matching `when` exists: continues a conversation */
    resume: z.optional(z.strictObject({ args: z.array(z.string()), when: z.string() })),
    /** The agent's whole environment */
    env: z.record(z.string(), z.string()),
    /** Working directory */
    cwd: z.string(),
    setup: z.array(setupCommand()),
    /**
     * Where its standard streams lead: `inherit`, inner's own (the backend has joined them to the user's);
     * `terminal`, one that inner makes, and `pipes`, both served by sessions
     */
    streams: z.enum(["inherit", "terminal", "pipes"]),
  }),
)

/** What a session joins: the agent's streams, or those of a command run beside it. */
export const sessionRequest = once(() =>
  z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("attach"),
      /** Size of the window that is attached; absent for plain pipes */
      size: z.optional(terminalSize()),
    }),
    z.strictObject({
      kind: z.literal("exec"),
      argv: z.array(z.string()).check(
        z.minLength(1),
        z.refine((words) => lengthOf(words) <= COMMAND_MAX, "the command is too long"),
      ),
      /** Terminal for the command, absent for plain pipes */
      terminal: z.optional(z.strictObject({ term: z.string().check(z.maxLength(64)), size: terminalSize() })),
    }),
  ]),
)

/** Length of a command as the kernel counts it: each argument in UTF-8, and the zero behind it. In bytes. */
export function lengthOf(words: readonly string[]): number {
  return words.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0)
}

/** Without a schema: init sends it, which has checked what came from the host. */
export type ToInner =
  | { type: "provision"; files: ProvisionedFile[] }
  | { type: "probe"; probes: Probe[] }
  | {
      type: "launch"
      launch: Launch
      /** First launch of this bottle, in milliseconds since 1970: what changed later is the agent's work */
      since: number
    }
  /** Ends the agent: SIGTERM, after `grace_ms` SIGKILL */
  | { type: "stop"; grace_ms: number }
  /** Passes a signal on to the agent */
  | { type: "signal"; signal: "SIGINT" | "SIGTERM" }
  /** Connects to the session socket, shows `token`, and joins what is asked for */
  | { type: "session"; token: string; request: SessionRequest }

/** State of the workspace when the agent ended. */
export const workspaceState = once(() =>
  z.strictObject({
    /** `unchanged`: as at start; `pushed`: all of it is in a remote; `kept-work`: something would be lost */
    verdict: z.enum(["unchanged", "pushed", "kept-work"]),
    /** What would be lost, for people */
    detail: z.string().check(z.maxLength(512)),
  }),
)

/** How an agent ended, as init notes it for the host. */
export const exitNote = once(() => z.strictObject({ code: z.int(), workspace: workspaceState() }))

export const fromInner = union("type", {
  hello: () => z.strictObject({ type: z.literal("hello"), version: z.literal(1) }),
  /** All files of a `provision` are written */
  provisioned: () => z.strictObject({ type: z.literal("provisioned") }),
  probed: () => z.strictObject({ type: z.literal("probed"), results: z.array(probeResult()) }),
  started: () => z.strictObject({ type: z.literal("started"), pid: z.int() }),
  /** Set-up or start of the agent failed; inner ends after this */
  failed: () => z.strictObject({ type: z.literal("failed"), reason: z.string().check(z.maxLength(2048)) }),
  /** The agent ended; inner exits with `code` after this */
  exited: () => z.strictObject({ type: z.literal("exited"), code: z.int(), workspace: workspaceState() }),
})

export type Probe = z.infer<ReturnType<typeof probe>>
export type ProbeResult = z.infer<ReturnType<typeof probeResult>>
export type ProvisionedFile = z.infer<ReturnType<typeof provisionFile>>
export type SetupCommand = z.infer<ReturnType<typeof setupCommand>>
export type Launch = z.infer<ReturnType<typeof launch>>
export type SessionRequest = z.infer<ReturnType<typeof sessionRequest>>
export type FromInner = ReturnType<typeof fromInner.parse>
export type WorkspaceState = z.infer<ReturnType<typeof workspaceState>>

/** Longest line either side accepts, in bytes: environment and arguments are bounded by the kernel to 2 MiB */
export const LIFELINE_LINE_MAX = 4 * 1024 * 1024
