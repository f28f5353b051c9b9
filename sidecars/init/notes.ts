/** What init writes down beside the ledger: small facts that outlive the gateway, in the bottle's own volume. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { WorkspaceState } from "../../src/policy/wire/lifeline.ts"

/** How the agent ended; the host reads it after both containers are gone. */
const EXIT = "exit.json"
/** When an agent of this bottle started for the first time. */
const FIRST_LAUNCH = "first-launch.json"
/**
 * Files are stamped with the time of the kernel's last tick (ktime_get_coarse_real_ts64), which is up to 10 ms ago at
 * 100 ticks a second: what an agent makes at once would count as older than the agent.
 */
const FILE_CLOCK_LAG_MS = 10

export class Notes {
  readonly #dir: string

  constructor(dir: string) {
    this.#dir = dir
    mkdirSync(dir, { recursive: true })
  }

  /** Notes how the agent ended. Throws when it cannot be written. */
  exit(exit: { code: number; workspace: WorkspaceState }): void {
    this.#write(EXIT, exit)
  }

  /** Forgets how an earlier session ended: it must not stand for the end of the next one. */
  forgetExit(): void {
    rmSync(join(this.#dir, EXIT), { force: true })
  }

  /**
   * Time of the bottle's first launch, in milliseconds: what changed in the workspace after it is the agent's work,
   * also when the bottle was resumed since and nothing changed in the session that ends.
   */
  firstLaunch(): number {
    let text: string
    try {
      text = readFileSync(join(this.#dir, FIRST_LAUNCH), "utf8")
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
      const at = Date.now() - FILE_CLOCK_LAG_MS
      this.#write(FIRST_LAUNCH, { at })
      return at
    }
    try {
      const { at } = JSON.parse(text) as { at: unknown }
      if (typeof at === "number") return at
    } catch {
      // A note is not forced to the disk, and a power cut may leave an empty one.
    }
    // All there is counts as the agent's work then, and is kept.
    return 0
  }

  /** Whether an agent of this bottle was ever launched. */
  launchedBefore(): boolean {
    return existsSync(join(this.#dir, FIRST_LAUNCH))
  }

  /** By rename, so that a note is never half there. */
  #write(name: string, value: unknown): void {
    const path = join(this.#dir, name)
    writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
}
