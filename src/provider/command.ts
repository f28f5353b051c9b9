/** Any program: the bottle's own command, with the prompt and skills laid where it can find them. */
import { TASK_WORD } from "../manifest/other-fields.ts"
import { showable } from "../policy/denial.ts"
import { usageError } from "../runtime/error.ts"
import type { Provider, ProvisionPlan, ProvisionRequest } from "./types.ts"

/** Names the file with the agent's system prompt; absent when the agent has none */
const PROMPT_VARIABLE = "BOTTLE_PROMPT_FILE"

/** Characters of a program's name that are shown */
const NAME_MAX = 60

export const command: Provider = {
  name: "command",
  // A program of unknown kind is as likely to be part of a script as to be sat at.
  needsTerminal: false,

  /**
   * Where a task belongs only the command can say: at its end it would be a file for one program and a flag for
   * another, so it is never guessed.
   */
  checkTask(task: string | undefined, words: string[]): void {
    const takesTask = words.some((word) => word.includes(TASK_WORD))
    if (task === undefined && takesTask) {
      throw usageError(
        "The bottle's command needs a task",
        "Give it one: --prompt 'Fix the tests'",
        `its agent_provider.command has ${TASK_WORD} where the task belongs`,
      )
    }
    if (task !== undefined && !takesTask) {
      throw usageError(
        "The bottle's command does not say where the text of --prompt belongs",
        `Put ${TASK_WORD} into its agent_provider.command: command: [tool, --message, "${TASK_WORD}"]\n` +
          "or give it arguments of its own: bottle start AGENT -- argument",
      )
    }
  },

  plan(request: ProvisionRequest): ProvisionPlan {
    if (request.remoteControl) {
      throw usageError(
        "Only Claude Code has Remote Control",
        "Leave out `--remote-control`",
        "the bottle runs a command",
      )
    }
    const own = `${request.sandbox.home}/.config/bottle`
    const promptFile = request.prompt.trim() === "" ? undefined : `${own}/prompt.md`
    const env: Record<string, string> = promptFile === undefined ? {} : { [PROMPT_VARIABLE]: promptFile }
    return {
      tool: `command ${showable(request.command[0] ?? "", NAME_MAX)}`,
      version: "",
      image: "command",
      argv: argvOf(request),
      files:
        promptFile === undefined
          ? []
          : [{ path: promptFile, mode: 0o600, content: `${request.prompt.trimEnd()}\n`, seed: false }],
      trees: Object.entries(request.skills).map(([name, from]) => ({ from, to: `${own}/skills/${name}` })),
      setup: [],
      env,
      hiddenEnv: Object.keys(env),
      routes: [],
      placeholders: [],
    }
  },
}

/** The bottle's words, then the user's own, which are passed on as they are. */
function argvOf({ command: words, task, args }: ProvisionRequest): string[] {
  // By function: a `$&` in the task must not be read as a pattern.
  return [...words.map((word) => word.replaceAll(TASK_WORD, () => task ?? "")), ...args]
}
