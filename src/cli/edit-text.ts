/** A text of ours in the person's editor, checked when it is saved, until it is right or given up. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text as readAll } from "node:stream/consumers"
import { canAsk, confirm } from "../runtime/ask.ts"
import { BottleError, reasonOf, usageError } from "../runtime/error.ts"
import { hostEnv } from "../runtime/home.ts"
import { tell } from "../runtime/output.ts"
import { spawnInherit } from "../runtime/spawn.ts"
import { editorArgv } from "./editor.ts"
import { errorText } from "./error-text.ts"

export interface EditRequest<T> {
  /** Name of the file that the editor shows; its ending tells the editor the language */
  name: string
  /** File to take the text from instead of an editor, `-` for stdin */
  file?: string
  /** Makes the result of a text. Throws a BottleError when it is not right. */
  check(text: string): T
}

/** The checked result; undefined when the text was left as it was, or given up. */
export async function editText<T>(before: string, request: EditRequest<T>): Promise<T | undefined> {
  if (request.file !== undefined) return request.check(await given(request.file))
  if (!canAsk())
    throw usageError(
      "Cannot open an editor without a terminal",
      "Give the text with --file, or --file - for stdin",
    )
  const folder = mkdtempSync(join(tmpdir(), "bottle-edit-"))
  const path = join(folder, request.name)
  try {
    writeFileSync(path, before, { mode: 0o600 })
    for (;;) {
      const code = await spawnInherit([...editorArgv(hostEnv()), path])
      if (code !== 0)
        throw new BottleError({
          what: "The editor failed",
          why: `it ended with ${code}`,
          next: "Set $EDITOR",
        })
      const text = readFileSync(path, "utf8")
      if (text === before) return undefined
      try {
        return request.check(text)
      } catch (error) {
        if (!(error instanceof BottleError)) throw error
        tell(errorText(error))
        if (!(await confirm("Edit it again?", true))) return undefined
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function given(file: string): Promise<string> {
  try {
    return file === "-" ? await readAll(process.stdin) : readFileSync(file, "utf8")
  } catch (error) {
    throw usageError(`Could not read ${file}`, "Name a file that is there", reasonOf(error))
  }
}
