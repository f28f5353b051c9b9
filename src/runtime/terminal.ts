/** The user's terminal before, while and after a program in a sandbox has it. */
import { spawnSync } from "node:child_process"

/**
 * Every key and every byte as it is. The runtime's raw mode leaves the terminal writing a CR in front of each LF
 * (as libuv's does), which is wrong for programs that move the cursor down by LF. What `releaseTerminal` gives back is
 * what was before.
 */
export function claimTerminal(): void {
  process.stdin.setRawMode(true)
  spawnSync("stty", ["-opost"], { stdio: ["inherit", "ignore", "ignore"] })
}

/** A terminal that is gone (EIO: its window was closed) has no modes to give back, which ends nothing. */
export function releaseTerminal(): void {
  const gone = () => {}
  process.stdin.on("error", gone)
  process.stdin.setRawMode(false)
  process.stdin.off("error", gone)
}

/** Whether the terminal takes control sequences of ours. */
export function takesSequences(): boolean {
  const term = process.env.TERM ?? ""
  return term !== "" && term !== "dumb"
}

/**
 * Takes back what a full-screen program may have switched on and, when it was left and not ended, never switches off:
 * alternate screen, hidden cursor, bracketed paste, mouse and focus reports, key protocols, colours (xterm's control
 * sequences; the last two are kitty's and xterm's key protocols). What was not on is not changed by switching it off.
 */
const RESTORE = [
  "\u001b[?1049l",
  "\u001b[?25h",
  "\u001b[?2004l",
  "\u001b[?1000l\u001b[?1002l\u001b[?1003l\u001b[?1006l",
  "\u001b[?1004l",
  "\u001b[?2026l",
  "\u001b[<u",
  "\u001b[>4m",
  "\u001b[0m",
].join("")

/** Clears what is below the cursor too, where the rest of the agent's screen would stand among our lines. */
export function restoreTerminal(): void {
  if (process.stdout.isTTY) process.stdout.write(`${RESTORE}\r\n\u001b[J`)
}
