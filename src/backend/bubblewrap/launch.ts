/** Brings one bottle up: folders, copies, the keeper with its plan, and the way to init for the caller. */
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync } from "node:fs"
import { dirname, join, posix } from "node:path"
import type { ControlStreams } from "../../gateway/control-client.ts"
import { showable } from "../../policy/denial.ts"
import { AGENT_HOME, EGRESS_SOCKET } from "../../policy/paths.ts"
import { BottleError } from "../../runtime/error.ts"
import { lastLines } from "../../runtime/spawn.ts"
import type { LaunchScope, Sandbox, SandboxPlan, SessionEnd } from "../types.ts"
import { makeCgroups, removeCgroups } from "./bottle-cgroups.ts"
import { controlComing } from "./keeper.ts"
import { keeperPlan } from "./keeper-plan.ts"
import type { WaitingKeeper } from "./keeper-start.ts"
import { limitsHere } from "./limits.ts"
import { outOfReach } from "./own-copy.ts"
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
  /** A keeper that waits for its plan */
  keeper: WaitingKeeper
}

export async function launchBottle(
  plan: SandboxPlan,
  { home, bwrap, tool, keeper }: LaunchParts,
  scope: LaunchScope,
  begun: Promise<unknown>,
  load: (streams: ControlStreams) => Promise<void>,
): Promise<Sandbox> {
  const places = placesOf(home, plan.identity)
  await begun
  const { gateway, inner, take } = await keeper
  const streams = take()
  // One that has no plan yet goes away with them, and they keep us as long as they are open.
  scope.undo("the way to the keeper", async () => await streams[Symbol.asyncDispose]())
  scope.undo("the bottle's processes", () => removeBottle(home, plan.identity, { keepWork: plan.resume }))
  const program = await scope.phase("create", async () => {
    makeFolders(places, plan.identity)
    const cgroups = makeCgroups(limitsHere(plan.limits), plan.identity)
    if (cgroups.length > 0) scope.undo("control groups", () => removeCgroups(plan.identity, cgroups))
    const own = outOfReach(bwrap, dirname(places.control))
    return keeperPlan(plan, tool, places, { bwrap: own, gateway, inner }, cgroups)
  })
  await scope.phase("copies", () => copies(plan, places, scope))
  streams.input.write(`${JSON.stringify(program)}\n`)
  const user = new AbortController()
  // While everything comes up; before the agent starts, so that nothing is missed.
  const joined = joinUser(plan, places, scope, user.signal)
  const session = joined.then(({ ended }) => ended)
  session.catch(() => {})
  await scope.phase("gateway", async () => {
    try {
      await unlessInterrupted(load(streams), scope.signal)
    } catch (error) {
      user.abort()
      throw scope.signal.aborted ? error : withItsWords(error, places)
    }
  })
  return {
    program: { path: tool.path, pathFolders: tool.pathFolders },
    images: { agent: "", gateway: "" },
    joined,
    session,
    leave: () => user.abort(),
  }
}

/** A keeper that does not answer is not waited for by whoever has changed their mind. */
async function unlessInterrupted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const interrupted = Promise.withResolvers<never>()
  const interrupt = () => interrupted.reject(signal.reason)
  signal.addEventListener("abort", interrupt, { once: true })
  if (signal.aborted) interrupt()
  try {
    await Promise.race([work, interrupted.promise])
  } finally {
    signal.removeEventListener("abort", interrupt)
    work.catch(() => {})
  }
}

async function joinUser(
  plan: SandboxPlan,
  places: Places,
  scope: LaunchScope,
  leave: AbortSignal,
): Promise<{ ended: Promise<SessionEnd> }> {
  const mode = plan.session
  if (mode === "detached") return { ended: Promise.resolve({ kind: "detached" }) }
  try {
    return await scope.phase("session", async () =>
      joinAgent(places, await controlComing(places, leave), mode, leave),
    )
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
  // One of a keeper that is gone, and nobody listens on.
  rmSync(places.control, { force: true })
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
