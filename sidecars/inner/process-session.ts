/**
 * A program that leads a session of the kernel's (setsid(2)), and what it started: signalled as the keys of a terminal
 * do it, and ended whole when whoever ran it has gone.
 */
import { readdirSync, readFileSync } from "node:fs"

/** Time that the processes have to end by themselves, in milliseconds */
const HANG_UP_GRACE_MS = 3000
/** Pause between two looks at them, in milliseconds; a number is not given to another process in so short a time. */
const LOOK_EVERY_MS = 100

/** Signals the leader and the processes of its group, as Ctrl-C on a terminal does. */
export function signalGroup(leader: number, name: NodeJS.Signals): void {
  send(-leader, name)
}

/**
 * Tells every process of the session that nobody is there any more (SIGHUP, and SIGCONT for a stopped one); those that
 * stay are killed. One that made a session of its own meant to stay.
 */
export function hangUp(leader: number): void {
  for (const pid of membersOf(leader)) {
    send(pid, "SIGHUP")
    send(pid, "SIGCONT")
  }
  const until = Date.now() + HANG_UP_GRACE_MS
  const timer = setInterval(() => {
    const members = membersOf(leader)
    if (members.length === 0) clearInterval(timer)
    else if (Date.now() >= until) for (const pid of members) send(pid, "SIGKILL")
  }, LOOK_EVERY_MS)
  timer.unref()
}

/** Numbers of the living processes of a session. */
function membersOf(leader: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => sessionOf(pid) === leader)
}

/** The session of a process; undefined for one that is gone, and for one that ended and was not waited for. */
function sessionOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    // proc(5): the second field is a name in brackets, which may hold anything; state and session come behind it.
    const [state, , , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return state === "Z" ? undefined : Number(session)
  } catch {
    return undefined
  }
}

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    // It went by itself.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}
