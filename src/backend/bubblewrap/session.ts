/** The user's part in an agent that runs: joined over init, ended with the agent, or left. */

import { join } from "node:path"
import { readMetadata } from "../../bottle/state.ts"
import type { ControlStreams } from "../../gateway/control-client.ts"
import { SessionClient } from "../../gateway/session-client.ts"
import { type UserStreams, userStreams } from "../../gateway/user-streams.ts"
import type { TerminalPermission } from "../../policy/terminal/permission.ts"
import type { SessionRequest } from "../../policy/wire/lifeline.ts"
import { readBounded } from "../../runtime/durable-file.ts"
import { BottleError } from "../../runtime/error.ts"
import type { Session, SessionEnd } from "../types.ts"
import { keeperOf, untilGone } from "./keeper.ts"
import type { Places } from "./places.ts"

/** After the agent's end its workspace is judged, for two minutes at most; then the keeper ends. In milliseconds. */
const SETTLED_WITHIN_MS = 150_000
/** A keeper whose sandbox is gone gives its daemons 8 s, and ends. In milliseconds. */
const ENDS_WITHIN_MS = 12_000
/** Status of an agent whose end nobody saw: as a shell tells of SIGKILL */
const UNSEEN = 137
const EXIT_MAX = 4096

/** Joins the agent's streams over a way to init of its own; `leave` ends the user's part, and the agent runs on. */
export async function joinAgent(
  places: Places,
  streams: ControlStreams,
  mode: Exclude<Session["mode"], "detached">,
  leave: AbortSignal,
): Promise<{ ended: Promise<SessionEnd> }> {
  const user = userStreams(mode, mode === "terminal" ? await allowedIn(places) : new Set())
  const request: SessionRequest = mode === "task" ? { kind: "attach" } : { kind: "attach", size: user.size() }
  let client: SessionClient
  try {
    client = await SessionClient.open(places.state.identity, streams, request, user.events)
  } catch (error) {
    await streams[Symbol.asyncDispose]()
    throw error
  }
  return { ended: follow(places, client, user, leave) }
}

/** As it was started: what the manifest says by now is for the next one. */
async function allowedIn({ state }: Places): Promise<ReadonlySet<TerminalPermission>> {
  return new Set((await readMetadata(state))?.terminal_allow)
}

async function follow(
  places: Places,
  client: SessionClient,
  user: UserStreams,
  leave: AbortSignal,
): Promise<SessionEnd> {
  await using session = client
  const left = Promise.withResolvers<"left">()
  const onLeave = () => left.resolve("left")
  if (leave.aborted) onLeave()
  else leave.addEventListener("abort", onLeave, { once: true })
  try {
    const outcome = await Promise.race([session.ended, user.connect(session), left.promise])
    if (outcome === "left") return { kind: "detached" }
    // What is typed while the end is settled is meant for the shell.
    await user.restore()
    const keeper = await keeperOf(places)
    if (outcome.kind === "exited") {
      if (keeper !== undefined) await untilGone(keeper, SETTLED_WITHIN_MS)
      return outcome
    }
    if (keeper !== undefined && !(await untilGone(keeper, ENDS_WITHIN_MS))) throw cut(places.state.identity)
    return { kind: "exited", code: (await exitOf(places)) ?? UNSEEN }
  } finally {
    leave.removeEventListener("abort", onLeave)
    await user.restore()
  }
}

/** Nobody asked to leave, and whoever waits for the agent's work must not take it for done. */
function cut(identity: string): BottleError {
  return new BottleError({
    what: `The session with ${identity} was cut`,
    why: "its sandbox closed the connection, and runs on",
    next: `Look at it: bottle attach ${identity}; or end it: bottle stop ${identity}`,
  })
}

/** How the agent ended, as init noted it. */
async function exitOf({ state }: Places): Promise<number | undefined> {
  const content = await readBounded(join(state.gateway, "exit.json"), EXIT_MAX)
  try {
    const { code } = JSON.parse(content?.toString() ?? "") as { code?: unknown }
    return typeof code === "number" ? code : undefined
  } catch {
    return undefined
  }
}
