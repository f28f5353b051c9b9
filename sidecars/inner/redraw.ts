/**
 * Lets the agent draw its screen anew when someone attaches. `docker attach` asks for that by making the window one
 * larger and at once what it was again; programs that wait for a resize to settle see no change and draw nothing, so
 * that whoever comes back looks at an empty screen. Here the window stays smaller long enough to be seen.
 */
import { spawnSync } from "node:child_process"

/** Signals closer together than this are one resize, in milliseconds. */
const SETTLE_MS = 150
/** Time the window stays smaller, in milliseconds: longer than programs wait for a resize to settle. */
const SMALLER_MS = 150

interface WindowSize {
  rows: number
  columns: number
}

/** Watches the terminal's size for as long as this process lives; does nothing without a terminal. */
export function redrawOnAttach(): void {
  if (!process.stdin.isTTY) return
  let known = windowSize()
  let settling: NodeJS.Timeout | undefined
  let ours = false
  process.on("SIGWINCH", () => {
    if (ours) return
    clearTimeout(settling)
    settling = setTimeout(() => {
      const now = windowSize()
      const unchanged = now !== undefined && known?.rows === now.rows && known.columns === now.columns
      known = now
      if (!unchanged || now.rows < 2) return
      ours = true
      setRows(now.rows - 1)
      setTimeout(() => {
        const then = windowSize()
        // A window that the person resized meanwhile has the size that they gave it.
        if (then?.rows === now.rows - 1 && then.columns === now.columns) setRows(now.rows)
        else known = then
      }, SMALLER_MS)
      setTimeout(() => {
        ours = false
      }, 2 * SMALLER_MS)
    }, SETTLE_MS)
  })
}

/** `stty` reads and sets the size of its stdin, which is the terminal that we share with the agent. */
function windowSize(): WindowSize | undefined {
  const result = spawnSync("stty", ["size"], { stdio: ["inherit", "pipe", "ignore"], encoding: "utf8" })
  const [rows, columns] = (result.stdout ?? "").trim().split(" ").map(Number)
  return rows && columns ? { rows, columns } : undefined
}

function setRows(rows: number): void {
  spawnSync("stty", ["rows", String(rows)], { stdio: ["inherit", "ignore", "ignore"] })
}
