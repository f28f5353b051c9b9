/** Runs one command line: finds the verb, checks its flags, runs it, prints what it throws. Returns the exit status. */
import { stripVTControlCharacters } from "node:util"
import { type ArgsDef, type CommandDef, renderUsage, runCommand } from "citty"
import { nearest } from "../manifest/suggest.ts"
import { BottleError, reasonOf, usageError } from "../runtime/error.ts"
import { isTerminal, pad, paint, print, tell } from "../runtime/output.ts"
import { errorText, shownLines } from "./error-text.ts"
import { checkFlags } from "./flags.ts"
import { VERBS } from "./verbs.ts"

export async function runCli(argv: string[]): Promise<number> {
  try {
    return await dispatch(argv)
  } catch (error) {
    return report(error)
  }
}

async function dispatch(argv: string[]): Promise<number> {
  const [name, ...rest] = argv
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    showHelp(name === undefined ? tell : print)
    return name === undefined ? 2 : 0
  }
  const verb = VERBS[name]
  if (verb === undefined) {
    const near = nearest(name, Object.keys(VERBS))
    throw usageError(
      `There is no command "${name}"`,
      near ? `Did you mean \`bottle ${near}\`?` : "See: bottle help",
    )
  }
  const file = await verb.load(rest)
  let command: CommandDef = file.default
  let args = rest
  for (let parts = await subCommands(command); parts !== undefined; parts = await subCommands(command)) {
    const [part, ...others] = args
    const next = part === undefined ? undefined : parts[part]
    if (next === undefined) {
      if (args.some(isHelp)) break
      const list = Object.keys(parts).join(", ")
      throw usageError(
        `\`bottle ${name}\` needs one of: ${list}`,
        `For example: bottle ${name} ${Object.keys(parts)[0]}`,
      )
    }
    command = next
    args = others
  }
  const own = args.includes("--") ? args.slice(0, args.indexOf("--")) : args
  if (own.some(isHelp)) {
    const usage = await renderUsage(command)
    // citty colours for a pipe as well.
    print(isTerminal("stdout") ? usage : stripVTControlCharacters(usage))
    return 0
  }
  file.checkCall?.(args)
  checkFlags(`bottle ${name}`, own, ((await command.args) ?? {}) as ArgsDef)
  const { result } = await runCommand(command, { rawArgs: args })
  return typeof result === "number" ? result : 0
}

async function subCommands(command: CommandDef): Promise<Record<string, CommandDef> | undefined> {
  const parts = await command.subCommands
  return parts as Record<string, CommandDef> | undefined
}

function isHelp(arg: string): boolean {
  return arg === "--help" || arg === "-h"
}

function showHelp(write: (text: string) => void): void {
  const colour = paint(write === print ? "stdout" : "stderr")
  const rows = Object.entries(VERBS).map(([name, { about }]) => `  ${colour.name(pad(name, 9))} ${about}`)
  write(
    [
      "Runs coding agents with full permissions in sandboxes whose only way out you control.",
      "",
      `${colour.strong("usage:")} bottle <command> [options]`,
      "",
      ...rows,
      "",
      `See ${colour.name("bottle <command> --help")} for its options, ${colour.name("bottle --version")} for the version.`,
    ].join("\n"),
  )
}

/** The one place that prints an error. Returns the exit status. */
function report(error: unknown): number {
  if (error instanceof BottleError) {
    tell(errorText(error))
    return error.exitCode
  }
  // citty's own complaints about a call.
  if (error instanceof Error && error.name === "CLIError") {
    return report(usageError(error.message, "See: bottle <command> --help"))
  }
  const what = "This is a fault of bottle itself"
  const next = "Please report it with the lines below"
  tell(errorText(new BottleError({ what, why: reasonOf(error), next })))
  if (error instanceof Error) tell(shownLines(error.stack ?? "").join("\n"))
  return 1
}
