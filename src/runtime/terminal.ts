/** The user's terminal after an agent had it. */

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
