/**
 * What the host tells the keeper of a bottle whose sandbox and daemons are processes of this machine: which programs to
 * start. It is the first line on the keeper's stdin, which is a control channel from there on.
 */
import * as z from "zod/mini"
import { once } from "../lazy.ts"

/** One argument: text, or something that only the keeper can name. */
export const programArgument = once(() =>
  z.union([
    z.string(),
    /** A path of the host, under the name by which the program's user reaches it */
    z.strictObject({ path: z.string() }),
    /** The number of an open file of this content, which has no name */
    z.strictObject({ text: z.string() }),
    /** The same, for bytes */
    z.strictObject({ base64: z.string() }),
  ]),
)

/** A program in a bubblewrap of its own. */
export const confinedProgram = once(() =>
  z.strictObject({
    /** argv up to bwrap's own options */
    argv: z.array(z.string()).check(z.minLength(1)),
    /** Options of bwrap; they are handed over as a file, so that no process list shows them */
    options: z.array(programArgument()),
    /** What runs inside */
    command: z.array(z.string()).check(z.minLength(1)),
    /** User and group it is started as, absent for the keeper's own */
    uid: z.optional(z.int().check(z.gte(1))),
    /** Control groups that it is put into before it begins, absolute folders; absent for a program without limits */
    cgroups: z.optional(z.array(z.string())),
  }),
)

export const keeperPlan = once(() =>
  z.strictObject({
    version: z.literal(1),
    identity: z.string(),
    /** The bottle's state folder, absolute */
    dir: z.string(),
    daemons: z.array(z.strictObject({ name: z.string(), program: confinedProgram() })),
    sandbox: confinedProgram(),
    /** Folders of the host whose file systems must not fill up, absolute */
    guarded: z.array(z.string()),
  }),
)

export type ProgramArgument = z.infer<ReturnType<typeof programArgument>>
export type ConfinedProgram = z.infer<ReturnType<typeof confinedProgram>>
export type KeeperPlan = z.infer<ReturnType<typeof keeperPlan>>

/**
 * Places below the bottle's state folder, relative: the keeper works there, because the path of a socket must not be
 * longer than 107 bytes (unix(7)) and a home may lie deep.
 */
export const KEEPER = {
  /** Names the keeper's process, as runtime/process-owner.ts describes one */
  owner: "gateway/keeper.pid",
  notes: "gateway",
  control: "gateway/control/control.sock",
  sockets: "sock",
  ledger: "ledger",
  log: "log/gateway.log",
} as const

/** Longest plan, in bytes: some hundred options. */
export const KEEPER_PLAN_MAX = 1024 * 1024
