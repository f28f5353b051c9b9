/**
 * The one error type that people are meant to read. It is thrown where the fault is found and printed once, in
 * `src/main.ts`: what failed, why, and what to do next.
 */
export class BottleError extends Error {
  override readonly name = "BottleError"
  /** What could not be done, as a sentence without a full stop */
  readonly what: string
  /** Why it failed, including the failing tool's own words */
  readonly why: string
  /** The next step for the person, as a command or an edit */
  readonly next: string
  /** Process exit status: 1 failed, 2 usage, 130 interrupted */
  readonly exitCode: number

  constructor(parts: { what: string; why?: string; next?: string; exitCode?: number; cause?: unknown }) {
    super(parts.what, parts.cause === undefined ? undefined : { cause: parts.cause })
    this.what = parts.what
    this.why = parts.why ?? ""
    this.next = parts.next ?? ""
    this.exitCode = parts.exitCode ?? 1
  }
}

/** A wrong call of the command line: exit status 2. */
export function usageError(what: string, next = "", why = ""): BottleError {
  return new BottleError({ what, why, next, exitCode: 2 })
}

/** The text of anything thrown, for the `why` of a BottleError. */
export function reasonOf(error: unknown): string {
  if (error instanceof BottleError) return error.why === "" ? error.what : `${error.what}: ${error.why}`
  if (error instanceof Error) return error.message
  return String(error)
}
