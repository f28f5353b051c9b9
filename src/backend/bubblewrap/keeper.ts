/** The keeper's process as the host sees it: whether it lives, how it is reached, and how it is ended. */
import { closeSync, openSync } from "node:fs"
import { createConnection } from "node:net"
import { basename, dirname } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import type { ControlStreams } from "../../gateway/control-client.ts"
import { readBounded } from "../../runtime/durable-file.ts"
import { BottleError, reasonOf } from "../../runtime/error.ts"
import { currentOwner, ownerAlive, type ProcessOwner } from "../../runtime/process-owner.ts"
import type { Places } from "./places.ts"

/** Largest note of a process, in bytes */
const OWNER_MAX = 4096
/** Pause between two looks at a process that ends, in milliseconds */
const LOOK_EVERY_MS = 4
/** A new keeper listens within this, in milliseconds, or never. */
const LISTENS_WITHIN_MS = 20_000
/** The keeper ends its daemons within 8 s of a SIGTERM; after this it is killed, in milliseconds. */
const END_WITHIN_MS = 10_000
/** A killed process is gone within this, in milliseconds, unless it hangs in the kernel. */
const KILLED_WITHIN_MS = 5000
/** O_PATH of open(2), which Node has no name for */
const O_PATH = 0o10000000

/** The living keeper of a bottle; undefined when there is none. */
export async function keeperOf({ owner }: Places): Promise<ProcessOwner | undefined> {
  const content = await readBounded(owner, OWNER_MAX)
  if (content === undefined) return undefined
  const named = ownerIn(content)
  return named !== undefined && (await ownerAlive(named)) ? named : undefined
}

/** One that lives has written its name whole; after a power cut the file may be empty, and nobody lives. */
function ownerIn(content: Buffer): ProcessOwner | undefined {
  try {
    const named = JSON.parse(content.toString()) as ProcessOwner
    const { pid, start_time, boot_id, pid_namespace } = named
    const texts = [start_time, boot_id, pid_namespace].every((text) => typeof text === "string")
    return Number.isSafeInteger(pid) && pid > 1 && texts ? named : undefined
  } catch {
    return undefined
  }
}

/** Resolves when that process is gone, with false when it is still there after `withinMs`. */
export async function untilGone(owner: ProcessOwner, withinMs: number): Promise<boolean> {
  const until = Date.now() + withinMs
  while (await ownerAlive(owner)) {
    if (Date.now() > until) return false
    await delay(LOOK_EVERY_MS)
  }
  return true
}

/** Ends a bottle's keeper, and with it everything of the bottle. Throws a BottleError when it cannot be ended. */
export async function endKeeper(places: Places): Promise<void> {
  const owner = await keeperOf(places)
  if (owner === undefined) return
  if (owner.pid_namespace !== (await currentOwner()).pid_namespace) {
    throw new BottleError({
      what: `Could not end ${places.state.identity}`,
      why: `it was started in another container, and process ${owner.pid} is somebody else here`,
      next: "Run this where it was started",
    })
  }
  kill(owner, "SIGTERM")
  if (await untilGone(owner, END_WITHIN_MS)) return
  kill(owner, "SIGKILL")
  if (await untilGone(owner, KILLED_WITHIN_MS)) return
  throw new BottleError({
    what: `Could not end ${places.state.identity}`,
    why: `process ${owner.pid} does not go away`,
    next: `See what it waits for: cat /proc/${owner.pid}/wchan`,
  })
}

function kill({ pid }: ProcessOwner, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // It went by itself.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}

/**
 * The way to init. By an open folder: the path of a socket may have 107 bytes (unix(7)), and the folder of a bottle may
 * lie deeper than that.
 */
export function controlOf(places: Places): ControlStreams {
  return connected(places).streams
}

/** The same of a keeper that is still coming up. Rejects when it has not come in time, or `leave` tells to give up. */
export async function controlComing(places: Places, leave: AbortSignal): Promise<ControlStreams> {
  const until = Date.now() + LISTENS_WITHIN_MS
  for (;;) {
    const { streams, opened } = connected(places)
    if (await opened) return streams
    await streams[Symbol.asyncDispose]()
    leave.throwIfAborted()
    if (Date.now() > until) return controlOf(places)
    await delay(LOOK_EVERY_MS)
  }
}

function connected(places: Places): { streams: ControlStreams; opened: Promise<boolean> } {
  let complaint = ""
  let folder: number
  try {
    folder = openSync(dirname(places.control), O_PATH)
  } catch (error) {
    throw new BottleError({
      what: `${places.state.identity} does not run`,
      why: reasonOf(error),
      next: `Run \`bottle resume ${places.state.identity}\` to go on with it`,
    })
  }
  const socket = createConnection({
    path: `/proc/self/fd/${folder}/${basename(places.control)}`,
    allowHalfOpen: true,
  })
  const close = () => {
    if (folder >= 0) closeSync(folder)
    folder = -1
  }
  const opened = new Promise<boolean>((resolve) => {
    socket.once("connect", () => resolve(true))
    socket.once("close", () => resolve(false))
  })
  socket.once("connect", close)
  socket.on("error", (error) => {
    complaint = `its gateway does not answer: ${reasonOf(error)}`
    close()
  })
  socket.once("close", close)
  const streams: ControlStreams = {
    input: socket,
    output: socket,
    complaint: () => complaint,
    [Symbol.asyncDispose]: async () => {
      socket.destroy()
    },
  }
  return { streams, opened }
}
