/** Why a program could not be started, in words and as the status that a shell would leave with. */
import { reasonOf } from "../../src/runtime/error.ts"

export class StartFault extends Error {
  override readonly name = "StartFault"
  /** 127: there is no such program; 126: it cannot run (POSIX, Shell Command Language, 2.8.2) */
  readonly code: 126 | 127

  constructor(program: string, cause: unknown) {
    super(`cannot start ${program}: ${reasonOf(cause)}`, { cause })
    this.code = (cause as NodeJS.ErrnoException).code === "ENOENT" ? 127 : 126
  }
}
