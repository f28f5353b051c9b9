/** The daemon's life: takes commands from init, listens once there is something to enforce, ends with its stdin. */
import { rmSync } from "node:fs"
import process from "node:process"
import { showable } from "../../src/policy/denial.ts"
import { EGRESS_SOCKET, INTERNAL_HOST } from "../../src/policy/paths.ts"
import { DAEMON_LINE_MAX, type EgressCommand, egressCommand } from "../../src/policy/wire/daemon.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { readLines } from "../../src/runtime/lines.ts"
import { serve } from "./connection.ts"
import { refuseUnloaded } from "./empty.ts"
import { enforce, type Gate } from "./gate.ts"
import { Journal } from "./journal.ts"
import { ROOTS_AFTER_MS } from "./limits.ts"
import { listen } from "./listener.ts"
import { compileLive, takeKeys } from "./live.ts"
import { Outbox } from "./outbox.ts"
import { Pool } from "./pool.ts"
import { connector } from "./tunnel.ts"

/** Serves until stdin ends. The socket's path is the argument after `egress`, BOTTLE_EGRESS_SOCKET or the agreed one. */
export async function runEgress(): Promise<void> {
  const path = process.argv[3] ?? process.env.BOTTLE_EGRESS_SOCKET ?? EGRESS_SOCKET
  const outbox = new Outbox(1)
  const daemon = new Daemon(path, outbox)
  process.on("uncaughtException", (error) => die(path, error))
  process.on("unhandledRejection", (error) => die(path, error))
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void daemon.stop())
  try {
    for await (const line of readLines(process.stdin, DAEMON_LINE_MAX)) await daemon.obey(line)
  } catch (error) {
    console.error(`egress: commands cannot be read: ${reasonOf(error)}`)
  }
  await daemon.stop()
}

/** A fault that nobody foresaw may have left anything behind: a new process is the only known state. */
function die(path: string, error: unknown): never {
  console.error(`egress: failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  rmSync(path, { force: true })
  process.exit(1)
}

class Daemon {
  readonly #path: string
  readonly #outbox: Outbox
  #gate: Gate | undefined
  /** Command that loads the gateway, told while nothing is loaded */
  #reload = ""
  #listening = false

  constructor(path: string, outbox: Outbox) {
    this.#path = path
    this.#outbox = outbox
  }

  /** Carries out one command; a bad one changes nothing and is answered so. */
  async obey(line: string): Promise<void> {
    const generation = this.#gate?.live.policy.generation ?? 0
    try {
      await this.#carryOut(parseCommand(line))
    } catch (error) {
      const reason = showable(reasonOf(error), 1000)
      console.error(`egress: a command was refused: ${reason}`)
      this.#outbox.send({ type: "refused", generation, reason })
    }
  }

  async stop(): Promise<void> {
    this.#gate?.journal.flush()
    rmSync(this.#path, { force: true })
    await this.#outbox.flushed()
    process.exit(0)
  }

  async #standEmpty(reload: string): Promise<void> {
    if (this.#gate !== undefined)
      throw new Error("a policy is loaded; it is not forgotten while the process lives")
    this.#reload = reload
    await this.#listen()
    console.error("loaded nothing: everything is refused")
    this.#outbox.send({ type: "live", generation: 0 })
  }

  async #listen(): Promise<void> {
    if (this.#listening) return
    await listen(this.#path, (client) => {
      const gate = this.#gate
      if (gate === undefined) return refuseUnloaded(client, this.#reload)
      return serve(gate, client, undefined, connector(gate))
    })
    this.#listening = true
  }

  async #carryOut(command: EgressCommand): Promise<void> {
    if (command.type === "empty") return this.#standEmpty(command.reload)
    if (command.type === "policy" && this.#gate === undefined) throw new Error("nothing is loaded yet")
    const live = compileLive(command.policy)
    const old = this.#gate?.live.policy.generation ?? 0
    if (command.policy.generation < old) {
      throw new Error(`generation ${command.policy.generation} is older than the live one, ${old}`)
    }
    const keys = command.type === "load" ? takeKeys(command) : this.#gate!.keys
    if (this.#gate === undefined) {
      const journal = new Journal((event) => this.#outbox.send({ type: "event", event }))
      const gate: Gate = { keys, live, pool: new Pool(), journal, outbox: this.#outbox, flights: new Set() }
      // Before it listens: no connection must meet a daemon that takes itself for empty.
      this.#gate = gate
      await this.#listen().catch((error) => {
        this.#gate = undefined
        throw error
      })
    } else {
      this.#gate.keys = keys
      enforce(this.#gate, live)
    }
    const { generation, routes } = command.policy
    console.error(`loaded ${routes.length} routes, generation ${generation}`)
    this.#outbox.send({ type: "live", generation })
    if (command.type === "load") {
      // Every sandbox asks for this one first, to try its wall.
      setImmediate(() => keys.authority.contextFor(INTERNAL_HOST))
      // The roots are read while nobody waits for them: not at once, when the sandbox tries its wall.
      setTimeout(() => keys.trust.prepare(), ROOTS_AFTER_MS).unref()
    }
  }
}

function parseCommand(line: string): EgressCommand {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    // Not the parser's own message: it repeats what it read, and the line holds credentials.
    throw new Error("the command is not JSON")
  }
  const parsed = egressCommand.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new Error(
    `the command does not fit its schema at ${issue?.path.join(".") || "its root"}: ${issue?.code ?? ""}`,
  )
}
