/** What `bottle init` puts into a new bottle: Claude Code, or a command of the user's. */
import { basename } from "node:path"
import { commandVerdict, hostVariableVerdict, kebabCase } from "../manifest/other-fields.ts"
import { says, type Verdict } from "../manifest/saying.ts"
import { didYouMean } from "../manifest/suggest.ts"
import { splitWords } from "../manifest/words.ts"
import { usageError } from "../runtime/error.ts"
import type { Runs } from "./init-text.ts"

const TEMPLATES = ["claude", "command"]
const DEFAULT_COMMAND = "bash"
/** The variable that Claude Code itself reads */
export const DEFAULT_TOKEN = "CLAUDE_CODE_OAUTH_TOKEN"

export interface RunsFlags {
  template?: string | undefined
  command?: string | undefined
  "token-env"?: string | undefined
}

/** Asks for one answer, or takes it from its flag. */
export type Field = (
  flag: string | undefined,
  question: string,
  preset: string,
  verdict: (text: string) => Verdict,
) => Promise<string> | string

/** Throws a usage error for flags that are about different things. */
export function checkTogether(flags: RunsFlags): void {
  const template = templateOf(flags)
  if (flags.command !== undefined && template !== "command") {
    throw usageError("--command is for --template command", "Leave out one of the two")
  }
  if (flags["token-env"] !== undefined && template === "command") {
    throw usageError(
      "--token-env is the Claude token, and a command has none",
      "Leave it out, and give the bottle a route with `auth` for what the command reaches",
    )
  }
}

/** What the flags say that runs: a command needs no other word for it. */
function templateOf(flags: RunsFlags): string | undefined {
  return flags.template ?? (flags.command === undefined ? undefined : "command")
}

/** Agent and bottle are called after what runs in them, as far as it is known. */
export function presetName(flags: RunsFlags): string {
  if (templateOf(flags) !== "command") return "claude"
  const program = splitWords(flags.command ?? DEFAULT_COMMAND)?.[0] ?? ""
  return kebabCase(basename(program)) || "command"
}

/** The answer to what runs in a new bottle, and what that needs. */
export async function runsIn(flags: RunsFlags, field: Field): Promise<Runs> {
  const template = await field(
    templateOf(flags),
    `What runs in it (${TEMPLATES.join(", ")})`,
    "claude",
    templateVerdict,
  )
  if (template === "command") {
    const question = "Command, as you would type it"
    const typed = await field(flags.command, question, DEFAULT_COMMAND, typedVerdict)
    return { template, command: splitWords(typed) ?? [] }
  }
  const question = "Host variable that holds the Claude token"
  const tokenEnv = await field(flags["token-env"], question, DEFAULT_TOKEN, hostVariableVerdict)
  return { template: "claude", tokenEnv }
}

function templateVerdict(text: string): Verdict {
  if (TEMPLATES.includes(text)) return undefined
  return says(
    `${JSON.stringify(text)} is not what can run${didYouMean(text, TEMPLATES)}`,
    `Choose one of: ${TEMPLATES.join(", ")}`,
  )
}

function typedVerdict(text: string): Verdict {
  const words = splitWords(text)
  if (words === undefined) return says("a quote stays open", "Close it")
  if (words.length === 0) return says("the command is empty", 'Give it as: --command "bash -l"')
  return commandVerdict(words)
}
