/** Fetches a credential from where the manifest says it is. No message ever holds any of it. */
import { constants } from "node:fs"
import { open } from "node:fs/promises"
import type { TokenSource } from "../manifest/types.ts"
import { BottleError, reasonOf } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"
import { run } from "../runtime/spawn.ts"

/** Characters a credential has at least: a shorter one cannot be told from ordinary traffic by the scanners */
export const SECRET_MIN = 8
/** Bytes a credential has at most: servers refuse header lines beyond some 8 KiB (nginx, Apache) */
const SECRET_MAX = 8 * 1024
/** Time a command may take, in milliseconds: a password manager that asks a question has no terminal here */
const COMMAND_TIMEOUT_MS = 10_000

export interface TokenContext {
  hostEnv: HostEnv
  /** Folder that commands run in, absolute: $BOTTLE_HOME, not the current one, which somebody else may have written */
  home: string
  /** How the credential is sent: `basic` takes `user:password` and letters beyond ASCII */
  scheme?: string
}

/** The credential's value. Throws a BottleError that says where it was looked for. */
export async function resolveToken(source: TokenSource, context: TokenContext): Promise<string> {
  const place = tokenPlace(source)
  const value = await VALUE_OF[source.kind](source as never, context)
  const fault = faultOf(value, context.scheme)
  if (fault !== undefined) {
    throw new BottleError({
      what: `The credential from ${place} cannot be used`,
      why: fault,
      next: nextFor(source),
    })
  }
  return value
}

/** Where a credential comes from, as preflight and messages name it. */
export function tokenPlace(source: TokenSource): string {
  if (source.kind === "env") return `$${source.variable}`
  if (source.kind === "file") return source.path
  // The arguments may be telling, and only the program says which tool failed.
  return `the command \`${source.argv[0]}\``
}

const VALUE_OF = { env: fromEnv, file: fromFile, command: fromCommand }

async function fromEnv(source: { variable: string }, { hostEnv }: TokenContext): Promise<string> {
  const value = hostEnv[source.variable]
  if (value !== undefined && value !== "") return value
  throw new BottleError({
    what: `The credential $${source.variable} is not there`,
    why: value === "" ? "the variable is set to nothing" : "the variable is not set",
    next: `Set it in this shell: export ${source.variable}=...`,
  })
}

async function fromFile({ path }: { path: string }): Promise<string> {
  const what = `The credential in ${path} cannot be read`
  let file: Awaited<ReturnType<typeof open>>
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    throw new BottleError({
      what,
      why: reasonOf(error),
      next: `Create it with: (umask 077; cat > ${path})`,
      cause: error,
    })
  }
  try {
    const about = await file.stat()
    if (!about.isFile()) throw new BottleError({ what, why: "it is not a file", next: "Name a file" })
    if ((about.mode & 0o027) !== 0) {
      const mode = (about.mode & 0o777).toString(8)
      const why = `its mode is ${mode}: other users could read or replace it`
      throw new BottleError({ what, why, next: `Run: chmod 600 ${path}` })
    }
    if (about.size > SECRET_MAX)
      throw new BottleError({ what, why: `it has ${about.size} bytes`, next: "Name another file" })
    return (await file.readFile("utf8")).replace(/\r?\n$/, "")
  } finally {
    await file.close()
  }
}

async function fromCommand({ argv }: { argv: string[] }, { hostEnv, home }: TokenContext): Promise<string> {
  const result = await run(argv, { env: hostEnv, cwd: home, timeoutMs: COMMAND_TIMEOUT_MS })
  if (result.code === 0) return result.stdout.trim()
  throw new BottleError({
    what: `The command \`${argv[0]}\` gave no credential`,
    why: `it ended with status ${result.code}${result.stderr.trim() === "" ? "" : `: ${result.stderr.trim()}`}`,
    next: "Run it by hand to see what it needs",
  })
}

function faultOf(value: string, scheme: string | undefined): string | undefined {
  if (value === "") return "it is empty"
  if (value.length > SECRET_MAX) return `it has more than ${SECRET_MAX} characters`
  // A line break would end the header and begin one of its own (RFC 9110 section 5.5).
  if (/[\u0000-\u001f\u007f-\u009f]/.test(value)) return "it holds control characters, such as a line break"
  if (value !== value.trim()) return "it begins or ends with a space"
  if (value.length < SECRET_MIN)
    return `it has fewer than ${SECRET_MIN} characters, so it could not be kept out of logs`
  if (scheme === "basic") return value.includes(":") ? undefined : "the scheme basic needs user:password"
  return /[^\u0020-\u007e]/.test(value) ? "it holds characters that no header can carry" : undefined
}

function nextFor(source: TokenSource): string {
  if (source.kind === "env") return `Set it anew: export ${source.variable}=...`
  if (source.kind === "file") return `Write it anew: (umask 077; cat > ${source.path})`
  return "Run the command by hand to see what it prints"
}
