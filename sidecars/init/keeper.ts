/**
 * The keeper of a bottle whose sandbox and daemons are processes of this machine: init, and the parent of them all. It
 * is started by the host program, belongs to no terminal, and ends when its bottle does; when it is killed, the kernel
 * ends its children (PR_SET_PDEATHSIG, which bwrap sets for --die-with-parent).
 */
import type { ChildProcess } from "node:child_process"
import { renameSync, writeFileSync } from "node:fs"
import { controlRequest } from "../../src/policy/wire/control.ts"
import { daemonReport } from "../../src/policy/wire/daemon.ts"
import {
  type ConfinedProgram,
  KEEPER,
  KEEPER_PLAN_MAX,
  type KeeperPlan,
} from "../../src/policy/wire/keeper.ts"
import { fromInner } from "../../src/policy/wire/lifeline.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { firstLine, readLines } from "../../src/runtime/lines.ts"
import { currentOwner, type ProcessOwner } from "../../src/runtime/process-owner.ts"
import { spawnConfined } from "./confined.ts"
import type { DaemonChild, DaemonSpawner } from "./daemon-spawn.ts"
import { DISK_FLOOR, DiskGuard } from "./disk-guard.ts"
import { LogFile } from "./log-file.ts"
import { type Reach, reachable } from "./stage.ts"

/** What inner said last is read before its end counts, in milliseconds. */
const LAST_WORDS_MS = 500

/** Waits for its plan, then runs in the bottle's state folder until the bottle ends. */
export async function runKeeper(): Promise<void> {
  // The host reads our stdout only for as long as it likes.
  process.stdout.on("error", () => {})
  for (const signal of ["SIGHUP", "SIGINT", "SIGPIPE"] as const) process.on(signal, () => {})
  const line = firstLine(process.stdin, KEEPER_PLAN_MAX)
  // The host starts us before it knows the plan, so that we are ready when it does.
  const [{ Gateway }, owner] = await Promise.all([import("./gateway.ts"), currentOwner()])
  controlRequest.prepare("load", "provision", "probe", "launch", "session")
  fromInner.prepare("hello", "provisioned", "probed", "started")
  daemonReport.prepare("live", "event")
  const text = await line
  // Nothing was agreed to, or the host is gone.
  if (text === undefined) process.exit(0)
  const plan = JSON.parse(text) as KeeperPlan
  process.chdir(plan.dir)
  const log = new LogFile(KEEPER.log)
  noteOwner(owner)

  const programs = new Map(plan.daemons.map(({ name, program }) => [name, program]))
  const place = { folder: KEEPER.notes, reach: reachable(sourcesOf([plan.sandbox, ...programs.values()])) }
  const spawner = confinedSpawner(programs, place)
  const specs = plan.daemons.map(({ name }) => ({ name, uid: 0, env: {} }))
  // First what has the most to do until it is ready.
  const sandbox = spawnConfined(plan.sandbox, ["ignore", "pipe", "pipe"], place)
  const sandboxEnded = followSandbox(sandbox, log)
  const running = new Map(specs.map((spec) => [spec.name, spawner.spawn(spec)]))

  const gateway = new Gateway({
    identity: plan.identity,
    daemons: specs,
    spawner,
    running,
    lifelineSocket: `${KEEPER.sockets}/init/lifeline.sock`,
    controlSocket: KEEPER.control,
    ledgerDir: KEEPER.ledger,
    notesDir: KEEPER.notes,
    stdio: true,
    hostLeft: (state) => {
      if (state === "empty") void gateway.end("its start was not finished")
    },
    log: (name, line) => log.write(name, line),
  })
  process.on("SIGTERM", () => void gateway.end("SIGTERM"))
  await gateway.start()
  using _guard = new DiskGuard(plan.guarded, DISK_FLOOR, { full: (reason) => void gateway.stop(reason) })
  void sandboxEnded.then(async (how) => {
    await new Promise((done) => setTimeout(done, LAST_WORDS_MS))
    await gateway.end(how)
  })
  const code = await gateway.ended
  sandbox.kill("SIGKILL")
  await sandboxEnded
  process.exit(code)
}

function sourcesOf(programs: ConfinedProgram[]): string[] {
  return programs
    .flatMap(({ options }) => options)
    .flatMap((argument) => (typeof argument !== "string" && "path" in argument ? [argument.path] : []))
}

/** A daemon ends when its stdin does; a signal would reach bwrap, which takes the daemon down in the middle of a word. */
function confinedSpawner(
  programs: ReadonlyMap<string, ConfinedProgram>,
  place: { folder: string; reach: Reach },
): DaemonSpawner {
  return {
    spawn: ({ name }) => {
      const program = programs.get(name)
      if (program === undefined) throw new Error(`no program for the daemon ${name}`)
      const child = spawnConfined(program, ["pipe", "pipe", "pipe"], place) as DaemonChild
      child.on("error", () => {})
      child.stdin.on("error", () => {})
      return child
    },
    end: (child) => void child.stdin.end(),
  }
}

/** Resolves with how the sandbox ended; what it says before there is an agent goes into the log. */
function followSandbox(child: ChildProcess, log: LogFile): Promise<string> {
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue
    void (async () => {
      try {
        for await (const line of readLines(stream, 64 * 1024)) log.write("sandbox", line.slice(0, 2000))
      } catch {
        stream.resume()
      }
    })()
  }
  return new Promise((resolve) => {
    child.once("error", (error) => {
      log.write("sandbox", `cannot start: ${reasonOf(error)}`)
      resolve(`the sandbox could not be started: ${reasonOf(error)}`)
    })
    child.once("exit", (code, signal) =>
      resolve(`the sandbox ended ${code === null ? `by ${signal}` : `with ${code}`}`),
    )
  })
}

/** By rename: whoever looks for us reads a whole name or none. */
function noteOwner(owner: ProcessOwner): void {
  writeFileSync(`${KEEPER.owner}.new`, JSON.stringify(owner), { mode: 0o600 })
  renameSync(`${KEEPER.owner}.new`, KEEPER.owner)
}
