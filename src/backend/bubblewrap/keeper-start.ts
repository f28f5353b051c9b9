/**
 * Starts a bottle's keeper: a process of no terminal's that outlives us. It is started before there is a plan for it,
 * while the manifests are read and the person decides, and goes away without a trace when it gets none.
 */
import { spawn } from "node:child_process"
import type { Socket } from "node:net"
import type { ControlStreams } from "../../gateway/control-client.ts"
import { LATE_COMPILER, STEADY_THREADS } from "../../policy/limits.ts"
import { type SidecarProgram, sidecarProgram } from "../../runtime/program.ts"
import { lastLines } from "../../runtime/spawn.ts"

/** Lines of its complaints that a message quotes. */
const WORDS_MAX = 5

/** Resolves when its process runs; rejects when the programs cannot be laid out. */
export type WaitingKeeper = Promise<{
  gateway: SidecarProgram
  inner: SidecarProgram
  /** Its stdin takes the plan, and is a control channel from there on; asked for by whoever gives it one */
  take(): ControlStreams
}>

let waiting: WaitingKeeper | undefined

/** Starts one that waits, once. */
export function warmKeeper(): void {
  waiting ??= startKeeper()
  // Told when it is needed.
  waiting.catch(() => {})
}

/** The one that waits, else a new one. */
export function takeKeeper(): WaitingKeeper {
  const keeper = waiting ?? startKeeper()
  waiting = undefined
  return keeper
}

async function startKeeper(): WaitingKeeper {
  const [gateway, inner] = await Promise.all([sidecarProgram("gateway"), sidecarProgram("inner")])
  const { file, folder = "", args, env } = gateway
  const child = spawn(file, [...args(folder), "keeper"], {
    cwd: "/",
    env: { ...env, ...STEADY_THREADS, ...LATE_COMPILER },
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  })
  let complaint = ""
  child.on("error", (error) => {
    complaint = error.message
  })
  child.stderr.on("data", (chunk: Buffer) => {
    complaint = lastLines(complaint + chunk.toString(), WORDS_MAX)
  })
  child.stdin.on("error", () => {})
  child.unref()
  // Nor do its pipes keep a program whose user said no.
  const pipes = [child.stdout, child.stderr] as Partial<Pick<Socket, "ref" | "unref">>[]
  for (const pipe of pipes) pipe.unref?.()
  const streams: ControlStreams = {
    input: child.stdin,
    output: child.stdout,
    complaint: () => complaint,
    [Symbol.asyncDispose]: async () => {
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy()
    },
  }
  const take = () => {
    for (const pipe of pipes) pipe.ref?.()
    return streams
  }
  return { gateway, inner, take }
}
