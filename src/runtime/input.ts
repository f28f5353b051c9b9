/** What a program of ours reads on its stdin when nobody types it. */
import { createReadStream, fstatSync } from "node:fs"
import type { Readable } from "node:stream"

const STDIN = 0

/**
 * stdin as bytes. The runtime's own stream reads a file or a device to its end before anything else gets a turn (Bun
 * 1.4.5): from /dev/urandom, which has none, neither a signal nor an answer is ever seen. These are read by a thread.
 */
export function plainInput(): Readable {
  return isAlwaysReady() ? createReadStream("", { fd: STDIN, autoClose: false }) : process.stdin
}

/** Never waited for: a file, or a device that is no terminal. */
function isAlwaysReady(): boolean {
  if (process.stdin.isTTY) return false
  try {
    const about = fstatSync(STDIN)
    return about.isFile() || about.isCharacterDevice()
  } catch {
    // It was closed before we began.
    return false
  }
}
