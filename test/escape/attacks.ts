/** The attacks, written once for every backend: programs in `attacker/` that run wherever a command can be run. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { lastLines } from "../../src/runtime/spawn.ts"

export const ATTACKER = join(import.meta.dir, "attacker")

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

/** What an attack came to: `got` when it succeeded, else the kernel's refusals by name. */
export interface Outcome {
  got?: unknown
  refused?: unknown
}

export interface RunOptions {
  stdin?: string
  /** Time it may take, in seconds */
  withinS?: number
}

/** A place where the attacker runs: the agent's in a bottle, or a control of it. */
export interface Victim {
  /** Runs a command as the agent would */
  run(argv: string[], options?: RunOptions): Promise<Ran>
  /** Runs one attack of a file in `attacker/` */
  attack(file: string, name: string, arg?: unknown): Promise<Outcome>
}

/** A victim by its way to run a command. */
export function victim(run: Victim["run"]): Victim {
  return {
    run,
    async attack(file, name, arg = {}) {
      const ran = await run(["python3", "-", name, JSON.stringify(arg)], { stdin: attackText(file) })
      if (ran.code !== 0) throw new Error(`${name} did not run: ${lastLines(ran.stderr, 5)}`)
      return JSON.parse(ran.stdout) as Outcome
    },
  }
}

/** The program of a file in `attacker/`: told by its arguments which attack, and with what. */
export function attackText(file: string): string {
  return ["attack.py", file].map((name) => readFileSync(join(ATTACKER, name), "utf8")).join("")
}
