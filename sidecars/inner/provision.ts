/** Writes the agent's files into its home, as the agent's own user, before there is an agent. */
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { AGENT_HOME } from "../../src/policy/paths.ts"
import type { ProvisionedFile } from "../../src/policy/wire/lifeline.ts"

/** Throws for a path outside of the home, and when a file cannot be written. */
export function writeFiles(files: readonly ProvisionedFile[], home = AGENT_HOME): void {
  for (const { path, mode, content } of files) {
    if (normalize(path) !== path || !path.startsWith(`${home}/`))
      throw new Error(`${path} is not inside ${home}`)
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
    // By rename, so that a symbolic link which an earlier session left in its place is replaced and not followed.
    const temporary = join(dirname(path), ".bottle.part")
    // One that was killed in the middle of this has left it, and its agent may have put anything there.
    rmSync(temporary, { recursive: true, force: true })
    writeFileSync(temporary, content, { mode: 0o600, flag: "wx" })
    chmodSync(temporary, mode)
    renameSync(temporary, path)
  }
}
