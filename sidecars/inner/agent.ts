/** The agent's process: set up, started on inner's own terminal, stopped with a grace, and waited for. */
import { execFile, spawn } from "node:child_process"
import { readdirSync } from "node:fs"
import { constants } from "node:os"
import { basename, dirname } from "node:path"
import type { Launch, SetupCommand } from "../../src/policy/wire/lifeline.ts"
import type { Sessions } from "./sessions.ts"

/** Time a set-up command may take, in milliseconds: less than init waits for the agent to start. */
const SETUP_WITHIN_MS = 20_000

/** A program that runs, whoever has its streams. */
interface Running {
  pid: number
  /** Exit status, or 128 plus the signal's number */
  exited: Promise<number>
  signal(name: NodeJS.Signals): void
}

export class AgentProcess {
  readonly #program: Running

  private constructor(program: Running) {
    this.#program = program
  }

  /** Runs the set-up commands, then starts the agent. Throws when one fails or the program cannot be started. */
  static async start(launch: Launch, sessions: Sessions): Promise<AgentProcess> {
    for (const command of launch.setup) await runSetup(command, launch)
    const argv = withResume(launch)
    if (launch.streams === "inherit") {
      const running = await startInherited(argv, launch)
      sessions.remember(launch)
      void running.exited.then(() => sessions.agentEnded())
      return new AgentProcess(running)
    }
    const { pid, program } = await sessions.start(argv, launch)
    void program.exited.then(() => sessions.agentEnded())
    return new AgentProcess({ pid, exited: program.exited, signal: (name) => program.signal(name) })
  }

  get pid(): number {
    return this.#program.pid
  }

  get exited(): Promise<number> {
    return this.#program.exited
  }

  signal(name: NodeJS.Signals): void {
    this.#program.signal(name)
  }

  /** SIGTERM to the agent; after `graceMs` SIGKILL to everything in the sandbox. */
  stop(graceMs: number): void {
    this.#program.signal("SIGTERM")
    setTimeout(() => {
      killOthers()
      this.#program.signal("SIGKILL")
    }, graceMs).unref()
  }
}

/**
 * The terminal is inner's own and stays shared: the agent is in its foreground group, so keys and window changes reach
 * it as on any terminal.
 */
async function startInherited(argv: string[], { env, cwd }: Launch): Promise<Running> {
  const [file = "", ...args] = argv
  const child = spawn(file, args, { stdio: "inherit", env, cwd })
  const exited = new Promise<number>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)))
  })
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", () => resolve())
    child.once("error", (error) => reject(new Error(`cannot start ${file}: ${error.message}`)))
  })
  return { pid: child.pid ?? 0, exited, signal: (name) => child.kill(name) }
}

/** Ends every process of this sandbox but inner itself and process 1, which reaps. */
export function killOthers(): void {
  try {
    process.kill(-1, "SIGKILL")
  } catch {
    // ESRCH: there is none.
  }
}

/** The arguments that continue a conversation are added only where there is one. */
function withResume(launch: Launch): string[] {
  const { argv, resume } = launch
  if (resume === undefined || !anyMatch(resume.when)) return argv
  return [...argv, ...resume.args]
}

/** Whether a file matches `<folder>/*<suffix>`. */
function anyMatch(glob: string): boolean {
  const suffix = basename(glob).replace("*", "")
  try {
    return readdirSync(dirname(glob)).some((name) => name.endsWith(suffix))
  } catch {
    return false
  }
}

async function runSetup(command: SetupCommand, launch: Launch): Promise<void> {
  const result = await run(command.argv, launch)
  if (result.status !== 0) throw new Error(`set-up "${command.name}" failed: ${result.text}`)
  if (command.check === undefined) return
  const seen = await run(command.check.argv, launch)
  if (seen.status !== 0 || seen.stdout !== command.check.expect) {
    throw new Error(`set-up "${command.name}" did not take: found "${seen.text}"`)
  }
}

/** Not synchronous: a command may reach the gateway through our own relay. */
function run(
  argv: string[],
  launch: Launch,
): Promise<{ status: number | null; stdout: string; text: string }> {
  const [file = "", ...args] = argv
  return new Promise((resolve) => {
    const options = { env: launch.env, cwd: launch.cwd, timeout: SETUP_WITHIN_MS }
    execFile(file, args, options, (error, out, err) => {
      const stdout = out.trim()
      const text = err.trim() || stdout || (error?.message ?? "")
      resolve({
        status: error === null ? 0 : typeof error.code === "number" ? error.code : null,
        stdout,
        text,
      })
    })
  })
}
