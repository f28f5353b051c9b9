/** Which editor the person uses, as an argv. */
import { splitWords } from "../manifest/words.ts"
import { usageError } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"

/** The editor every POSIX system has */
const FALLBACK = "vi"

/** `$VISUAL`, else `$EDITOR`, else vi, split into words; no shell ever sees it. */
export function editorArgv(env: HostEnv): string[] {
  for (const name of ["VISUAL", "EDITOR"]) {
    const given = env[name]?.trim()
    if (given === undefined || given === "") continue
    const words = splitWords(given)
    if (words?.[0]) return words
    throw usageError(
      `$${name} is not a command: ${given}`,
      `Set it to one, as in: export ${name}="code --wait"`,
    )
  }
  return [FALLBACK]
}
