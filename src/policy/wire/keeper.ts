/**
 * What the host tells the keeper of a bottle whose sandbox and daemons are processes of this machine: which programs to
 * start. It is the first line on the keeper's stdin, which is a control channel from there on.
 */
/** One argument: text, or something that only the keeper can name. */
export type ProgramArgument =
  | string
  /** A path of the host, under the name by which the program's user reaches it */
  | { path: string }
  /** The number of an open file of this content, which has no name */
  | { text: string }
  /** The same, for bytes */
  | { base64: string }

/** A program in a bubblewrap of its own. */
export interface ConfinedProgram {
  /** argv up to bwrap's own options, not empty */
  argv: string[]
  /** Options of bwrap; they are handed over as a file, so that no process list shows them */
  options: ProgramArgument[]
  /** What runs inside, not empty */
  command: string[]
  /** User and group it is started as, absent for the keeper's own */
  uid?: number
  /** Control groups that it is put into before it begins, absolute folders; absent for a program without limits */
  cgroups?: string[]
}

/** Without a schema: it comes from the very program that has started the keeper, of the same version, over its stdin. */
export interface KeeperPlan {
  identity: string
  /** The bottle's state folder, absolute */
  dir: string
  daemons: { name: string; program: ConfinedProgram }[]
  sandbox: ConfinedProgram
  /** Folders of the host whose file systems must not fill up, absolute */
  guarded: string[]
}

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
