/**
 * The bwrap that a bottle is started by, when it is the user's own file, as one from a home or from Homebrew is: process 1
 * of the sandbox is bwrap, and /proc/1/exe leads to its file past every read-only mount. An agent with the owner's
 * number could make it set-id, change its times, and, on kernels that let running programs be written to (Linux 6.11
 * and 6.12), its code. So such a one is run from a copy that goes with the bottle.
 */
import { accessSync, chmodSync, constants, copyFileSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { callerUid } from "../../runtime/home.ts"

/** Absolute path to start. `folder` is one of the bottle's that nobody but the caller may enter. */
export function outOfReach(bwrap: string, folder: string): string {
  const uid = callerUid()
  // Root's bottles have numbers of their own, to which no file of the host belongs.
  if (uid === 0 || (statSync(bwrap).uid !== uid && !mayWrite(bwrap))) return bwrap
  const copy = join(folder, "bwrap")
  rmSync(copy, { force: true })
  copyFileSync(bwrap, copy, constants.COPYFILE_EXCL)
  chmodSync(copy, 0o500)
  return copy
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}
