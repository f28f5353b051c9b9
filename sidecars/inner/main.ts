/**
 * inner, process 1 of the sandbox: joins the sandbox's loopback ports to the gateway's sockets, holds the lifeline,
 * tries the wall before the agent exists, starts the agent, and leaves with the agent's exit code.
 */
import {
  EGRESS_PORT,
  EGRESS_SOCKET,
  GIT_GATE_PORT,
  GIT_GATE_SOCKET,
  LIFELINE_SOCKET,
  SESSION_SOCKET,
  SUPERVISE_PORT,
  SUPERVISE_SOCKET,
  WORKSPACE,
} from "../../src/policy/paths.ts"
import type { FromInner, ToInner } from "../../src/policy/wire/lifeline.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { AgentProcess, killOthers } from "./agent.ts"
import { Lifeline } from "./lifeline.ts"
import { tryWall } from "./probes.ts"
import { writeFiles } from "./provision.ts"
import { redrawOnAttach } from "./redraw.ts"
import { startRelay } from "./relay.ts"
import { Sessions } from "./sessions.ts"
import { judgeWorkspace } from "./workspace.ts"

/** Exit code when the bottle could not be started: the same as a shell's for a command that cannot run. */
const CANNOT_START = 126

/** Exit code of a start that was interrupted from its own terminal. */
const INTERRUPTED = 130
/** Time the agent has after SIGTERM, below Docker's own 10 s, in milliseconds. */
const STOP_GRACE_MS = 8000

const RELAYS = [
  { port: EGRESS_PORT, socket: EGRESS_SOCKET },
  { port: GIT_GATE_PORT, socket: GIT_GATE_SOCKET },
  { port: SUPERVISE_PORT, socket: SUPERVISE_SOCKET },
]

export async function runInner(): Promise<void> {
  await Promise.all(RELAYS.map(startRelay))
  const lifeline = await Lifeline.connect(LIFELINE_SOCKET)
  const sessions = new Sessions(SESSION_SOCKET)
  let agent: AgentProcess | undefined

  // The agent gets its keys from the terminal itself; SIGTERM and an interrupted start are for us.
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGTSTP"] as const) {
    process.on(signal, () => {
      if (agent === undefined) process.exit(signal === "SIGINT" ? INTERRUPTED : CANNOT_START)
      if (signal === "SIGTERM") agent.stop(STOP_GRACE_MS)
      // Without a terminal nothing but us passes the wish on.
      else if (signal === "SIGINT" && !process.stdin.isTTY) agent.signal("SIGINT")
    })
  }

  const say = (message: FromInner) => lifeline.send(message)
  const handle = async (message: ToInner): Promise<void> => {
    if (message.type === "provision") {
      writeFiles(message.files)
      say({ type: "provisioned" })
      return
    }
    if (message.type === "probe") {
      say({ type: "probed", results: await tryWall(message.probes) })
      return
    }
    if (message.type === "session") {
      await sessions.join(message.token, message.request)
      return
    }
    if (message.type === "signal") {
      agent?.signal(message.signal)
      return
    }
    if (message.type === "stop") {
      if (agent === undefined) process.exit(CANNOT_START)
      agent.stop(message.grace_ms)
      return
    }
    if (agent !== undefined) throw new Error("the agent runs already")
    agent = await AgentProcess.start(message.launch, sessions)
    if (message.launch.streams === "inherit") redrawOnAttach()
    say({ type: "started", pid: agent.pid })
    const code = await agent.exited
    // What it left running would end with us anyway, and must not write while the workspace is judged.
    killOthers()
    const told = sessions.told()
    say({ type: "exited", code, workspace: await judgeWorkspace(WORKSPACE, message.since) })
    await told
    await lifeline.close()
    process.exit(code)
  }
  // Without an agent there is nothing to live on for: the start was cut short, or its gateway is gone.
  const lost = () => {
    if (agent === undefined) process.exit(CANNOT_START)
  }
  for await (const message of lifeline.messages(lost)) {
    handle(message).catch(async (error) => {
      say({ type: "failed", reason: reasonOf(error).slice(0, 2048) })
      if (agent !== undefined) return
      await lifeline.close()
      process.exit(CANNOT_START)
    })
  }
}
