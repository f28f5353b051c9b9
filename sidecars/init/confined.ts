/**
 * Starts a program in a bubblewrap of its own. Its options are handed over as a file, so that they stand in no process
 * list, neither the host's nor the sandbox's.
 */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { closeSync, constants, openSync, rmSync, writeFileSync } from "node:fs"
import type { Writable } from "node:stream"
import type { ConfinedProgram } from "../../src/policy/wire/keeper.ts"
import { heldPrefix, joinCgroups, offerToOomKiller } from "./held-process.ts"
import type { Reach } from "./stage.ts"

/** Number of the descriptor that a held program waits on, and of the first one behind it */
const HOLD_FD = 3
const FIRST_FD = 4

type Standard = ["ignore" | "pipe", "pipe", "pipe"]

/** `folder` is for files without a name. Throws when something is missing, and then nothing runs. */
export function spawnConfined(
  program: ConfinedProgram,
  standard: Standard,
  { folder, reach }: { folder: string; reach: Reach },
): ChildProcess {
  const fds: number[] = []
  const number = (fd: number) => {
    fds.push(fd)
    return String(FIRST_FD + fds.length - 1)
  }
  try {
    const options = program.options.map((argument) => {
      if (typeof argument === "string") return argument
      return "path" in argument ? reach(argument.path) : number(unnamed(contentOf(argument), folder))
    })
    const list = number(unnamed(Buffer.from(`${options.join("\0")}\0`), folder))
    const held = program.cgroups !== undefined
    const argv = [...(held ? heldPrefix(HOLD_FD) : []), ...program.argv]
    const [file = "", ...before] = argv
    const stdio: StdioOptions = [...standard, held ? "pipe" : "ignore", ...fds]
    const child = spawn(file, [...before, "--args", list, "--", ...program.command], {
      stdio,
      // A process list of the sandbox shows bwrap's own environment too.
      env: {},
      cwd: "/",
      ...(program.uid === undefined ? {} : { uid: program.uid, gid: program.uid }),
    })
    if (program.cgroups !== undefined) letGo(child, program.cgroups)
    return child
  } finally {
    for (const fd of fds) closeSync(fd)
  }
}

/** One that was not let go ends by itself when its way to us is closed. */
function letGo(child: ChildProcess, cgroups: readonly string[]): void {
  const hold = child.stdio[HOLD_FD] as Writable | null | undefined
  hold?.on("error", () => {})
  try {
    if (child.pid === undefined) return
    joinCgroups(child.pid, cgroups)
    offerToOomKiller(child.pid)
    hold?.write("go\n")
  } finally {
    hold?.end()
  }
}

function contentOf(argument: { text: string } | { base64: string }): Buffer {
  return "text" in argument ? Buffer.from(argument.text) : Buffer.from(argument.base64, "base64")
}

/** Opened for reading, and its name gone. */
function unnamed(content: Buffer, folder: string): number {
  const path = `${folder}/.${randomBytes(8).toString("hex")}`
  writeFileSync(path, content, { mode: 0o600, flag: "wx" })
  try {
    return openSync(path, constants.O_RDONLY)
  } finally {
    rmSync(path)
  }
}
