/** The log of a gateway that no container engine keeps: bounded, with the lines before the last cut once more. */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from "node:fs"
import { showable } from "../../src/policy/denial.ts"

/** A file and one before it: a day of a talkative gateway, not a full disk. In bytes. */
const FILE_MAX = 5 * 1024 * 1024
/** Longest line, in characters: a sandbox's words may be an agent's. */
const LINE_MAX = 4096

export class LogFile {
  readonly #path: string
  #fd: number
  #size: number

  constructor(path: string) {
    this.#path = path
    this.#fd = openSync(path, "a", 0o600)
    this.#size = fstatSync(this.#fd).size
  }

  /** Without what would steer a terminal that shows it. A log that cannot be written costs the log alone. */
  write(name: string, line: string): void {
    try {
      if (this.#size > FILE_MAX) this.#turn()
      this.#size += writeSync(this.#fd, `${new Date().toISOString()} [${name}] ${showable(line, LINE_MAX)}\n`)
    } catch {
      // A full disk is seen by the ledger, which stops all traffic.
    }
  }

  #turn(): void {
    renameSync(this.#path, `${this.#path}.1`)
    closeSync(this.#fd)
    this.#fd = openSync(this.#path, "a", 0o600)
    this.#size = 0
  }
}
