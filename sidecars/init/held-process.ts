/**
 * The sandbox's first process is held until it stands in the bottle's control groups and is marked for the kernel's
 * out-of-memory killer: whatever it starts inherits both, and nothing ran before.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** What the processes of a sandbox add to their badness, of 1000; ordinary ones of the host have 0 */
const OOM_SCORE = 500
/** dash takes file descriptors of one digit alone */
const FD_MAX = 9

/**
 * An argv in front of the sandbox's own: waits for one line on `fd` and goes on as the same process. Without that line,
 * because its keeper died or refused, it ends with status 125 and nothing has been started.
 */
export function heldPrefix(fd: number): string[] {
  if (fd < 3 || fd > FD_MAX)
    throw new Error(`a held process waits on descriptor 3 to ${FD_MAX}, not on ${fd}`)
  const script =
    `read -r go <&${fd} || { echo "bottle: the sandbox was not let go, so nothing was started" >&2; exit 125; }; ` +
    `exec ${fd}<&-; exec "$@"`
  return ["/bin/sh", "-c", script, "bottle"]
}

/** Puts a held process into control groups, given as folders. Throws when it cannot join one: then it is not let go. */
export function joinCgroups(pid: number, cgroups: readonly string[]): void {
  // Opened without creating: an ordinary file in place of the kernel's would join nothing.
  for (const folder of cgroups) writeFileSync(join(folder, "cgroup.procs"), String(pid), { flag: "r+" })
}

/**
 * Has the kernel end the sandbox before the host's own programs when memory runs out. Written with CAP_SYS_RESOURCE it
 * is also the least value that the sandbox can go back to (fs/proc/base.c, __set_oom_adj); without, its processes may
 * lower it again.
 */
export function offerToOomKiller(pid: number): void {
  const file = `/proc/${pid}/oom_score_adj`
  // Lowering takes a privilege: one that is easier to end already stays so.
  if (Number(readFileSync(file, "utf8")) >= OOM_SCORE) return
  writeFileSync(file, String(OOM_SCORE), { flag: "r+" })
}
