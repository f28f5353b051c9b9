/** The verbs: one line each for the help, and the file that has the rest. */
import type { CommandDef } from "citty"

export interface Verb {
  /** One line for the help */
  about: string
  /** `args` are those of the call */
  load(args: readonly string[]): Promise<VerbFile>
}

interface VerbFile {
  default: CommandDef
  /** Looks at a call before its flags are read. Throws a usage error. */
  checkCall?(args: readonly string[]): void
}

// Each verb has its own shape of arguments; the table does not care.
const verb = (about: string, load: (args: readonly string[]) => Promise<{ default: unknown }>): Verb => ({
  about,
  load: load as Verb["load"],
})

async function expecting<T>(args: readonly string[], load: () => Promise<T>): Promise<T> {
  const { expectStart } = await import("./expect.ts")
  expectStart(args)
  return load()
}

export const VERBS: Record<string, Verb> = Object.assign(Object.create(null), {
  demo: verb("see what a bottle does, on a machine where nothing is set up", () => import("./demo.ts")),
  init: verb("make a first agent and its bottle", () => import("./init.ts")),
  start: verb("start an agent in a new bottle", (args) => expecting(args, () => import("./start.ts"))),
  attach: verb("join the terminal of a running agent", () => import("./attach.ts")),
  exec: verb("run a command beside a running agent", () => import("./exec.ts")),
  resume: verb("start a kept bottle again", (args) => expecting(args, () => import("./resume.ts"))),
  stop: verb("end a running bottle", () => import("./stop.ts")),
  list: verb("list active bottles, or available agents", () => import("./list.ts")),
  log: verb("read a bottle's ledger", () => import("./log.ts")),
  routes: verb("show or change what a running bottle may reach", () => import("./routes.ts")),
  reload: verb("load a gateway that was restarted", () => import("./reload.ts")),
  info: verb("show what an agent may do", () => import("./info.ts")),
  edit: verb("edit an agent or a bottle", () => import("./edit.ts")),
  doctor: verb("show what works on this machine", () => import("./doctor.ts")),
  cleanup: verb("remove what ended bottles left", () => import("./cleanup.ts")),
})
