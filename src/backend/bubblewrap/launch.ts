/** Brings one bottle up: folders, copies, the keeper with its plan, and the way to init for the caller. */
import { spawn } from "node:child_process"
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join, posix } from "node:path"
import type { ControlStreams } from "../../gateway/control-client.ts"
import { showable } from "../../policy/denial.ts"
import { STEADY_THREADS } from "../../policy/limits.ts"
import { AGENT_HOME, EGRESS_SOCKET } from "../../policy/paths.ts"
import { BottleError } from "../../runtime/error.ts"
import { extractSidecar } from "../../runtime/extract.ts"
import { runtimeProgram } from "../../runtime/program.ts"
import { lastLines } from "../../runtime/spawn.ts"
import type { LaunchScope, Sandbox, SandboxPlan, SessionEnd } from "../types.ts"
import { makeCgroups, removeCgroups } from "./bottle-cgroups.ts"
import { keeperPlan, type Sources } from "./keeper-plan.ts"
import { limitsHere } from "./limits.ts"
import { type Places, placesOf } from "./places.ts"
import { removeBottle } from "./remove.ts"
import { uidOf } from "./roles.ts"
import { joinAgent } from "./session.ts"
import type { Tool } from "./tool.ts"

/** Lines of a failed bottle's log that a message quotes. */
const WORDS_MAX = 5

export interface LaunchParts {
  home: string
  bwrap: string
  tool: Tool
}

export async function launchBottle(
  plan: SandboxPlan,
  { home, bwrap, tool }: LaunchParts,
  scope: LaunchScope,
  begun: Promise<unknown>,
  load: (streams: ControlStreams) => Promise<void>,
): Promise<Sandbox> {
  const places = placesOf(home, plan.identity)
  const bundles = Promise.all([extractSidecar("gateway"), extractSidecar("inner")])
  bundles.catch(() => {})
  await begun
  const [gateway, inner] = await bundles
  scope.undo("the bottle's processes", () => removeBottle(home, plan.identity, { keepWork: plan.resume }))
  await scope.phase("create", async () => {
    makeFolders(places, plan.identity)
    const limits = limitsHere(plan.limits)
    const cgroups = makeCgroups(limits, plan.identity)
    if (cgroups.length > 0) scope.undo("control groups", () => removeCgroups(plan.identity, cgroups))
    const sources: Sources = { bwrap, gateway, inner }
    const text = JSON.stringify(keeperPlan(plan, tool, places, sources, cgroups))
    writeFileSync(places.plan, text, { mode: 0o600 })
  })
  await scope.phase("copies", () => copies(plan, places, scope))
  await scope.phase("gateway", async () => {
    try {
      await load(startKeeper(places, gateway))
    } catch (error) {
      throw scope.signal.aborted ? error : withItsWords(error, places)
    }
  })
  const user = new AbortController()
  const { ended: session } = await joined(plan, places, scope, user.signal)
  session.catch(() => {})
  return {
    program: { path: tool.path, pathFolders: tool.pathFolders },
    images: { agent: "", gateway: "" },
    arrived: plan.resume ? [] : plan.trees,
    session,
    leave: () => user.abort(),
  }
}

/** The user's part begins before the agent does, so that nothing of it is missed. */
async function joined(
  plan: SandboxPlan,
  places: Places,
  scope: LaunchScope,
  leave: AbortSignal,
): Promise<{ ended: Promise<SessionEnd> }> {
  if (plan.session === "detached") return { ended: Promise.resolve({ kind: "detached" }) }
  const mode = plan.session
  try {
    return await scope.phase("session", () => joinAgent(places, mode, leave))
  } catch (error) {
    throw scope.signal.aborted ? error : withItsWords(error, places)
  }
}

/** Each role gets what it writes to, and nothing else of the bottle's folder. */
function makeFolders(places: Places, identity: string): void {
  const agent = uidOf(identity, "agent")
  const egress = uidOf(identity, "egress")
  const daemon = join(places.sockets, EGRESS_SOCKET.split("/").at(-2) ?? "")
  const make = (path: string, mode: number, uid?: number) => {
    mkdirSync(path, { recursive: true, mode })
    chmodSync(path, mode)
    if (uid !== undefined) chownSync(path, uid, uid)
  }
  make(places.sockets, 0o755)
  make(join(places.sockets, "init"), 0o755)
  make(daemon, 0o755, egress)
  make(dirname(places.control), 0o700)
  make(places.home, 0o700, agent)
  make(places.workspace, 0o755, agent)
}

/**
 * Skills and the workspace, as the agent's own. Never into what an agent has had: a link of its making could lead us
 * anywhere on the host. So a resumed bottle keeps what it was given at first.
 */
async function copies(plan: SandboxPlan, places: Places, scope: LaunchScope): Promise<void> {
  if (plan.resume) return
  if (plan.trees.length === 0 && plan.workspaceFrom === undefined) return
  const { copyTree } = await import("./tree-copy.ts")
  const { signal } = scope
  const uid = uidOf(plan.identity, "agent")
  const owner = uid === undefined ? {} : { uid, gid: uid }
  for (const { from, to } of plan.trees) {
    const target = join(places.home, insideHome(to))
    makeParents(places.home, dirname(target), uid)
    await copyTree(from, target, { ...owner, signal })
  }
  if (plan.workspaceFrom === undefined) return
  const copied = await copyTree(plan.workspaceFrom, places.workspace, { ...owner, signal })
  for (const name of copied.skipped.slice(0, WORDS_MAX)) scope.progress(`not copied: ${showable(name, 300)}`)
}

function insideHome(path: string): string {
  const name = posix.relative(AGENT_HOME, path)
  if (name === "" || name.startsWith("..")) throw new Error(`${path} is not inside ${AGENT_HOME}`)
  return name
}

function makeParents(home: string, folder: string, uid: number | undefined): void {
  if (folder === home) return
  makeParents(home, dirname(folder), uid)
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  if (uid !== undefined) chownSync(folder, uid, uid)
}

/** A process of no terminal's, in the bottle's own folder; its log is in there. */
function startKeeper(places: Places, gateway: string): ControlStreams {
  const { file, args, env } = runtimeProgram()
  const child = spawn(file, [...args, join(gateway, "gateway.js"), "keeper"], {
    cwd: places.state.dir,
    env: { ...env, ...STEADY_THREADS },
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
  // It outlives us, and we do not wait for it.
  child.unref()
  return {
    input: child.stdin,
    output: child.stdout,
    complaint: () => complaint,
    [Symbol.asyncDispose]: async () => {
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy()
    },
  }
}

/** What failed in the bottle has said why in its log, which is removed with it. */
function withItsWords(error: unknown, places: Places): unknown {
  if (!(error instanceof BottleError)) return error
  const words = lastLines(readLog(places), WORDS_MAX).split("\n")
  const shown = words.filter((line) => line !== "").map((line) => showable(line, 300))
  const { what, why, next, exitCode } = error
  return new BottleError({ what, why: [why, ...shown].join("\n"), next, exitCode, cause: error })
}

function readLog({ log }: Places): string {
  try {
    return readFileSync(log, "utf8")
  } catch {
    return ""
  }
}
