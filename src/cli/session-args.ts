/** What `start` and `resume` take alike: how a session is run and shown. */
import { usageError } from "../runtime/error.ts"
import { isTerminal } from "../runtime/output.ts"
import type { StartSpec } from "../session/prepare.ts"
import { FORMAT_ARG, formatOf } from "./context.ts"
import type { SessionOptions } from "./session.ts"

export const SESSION_ARGS = {
  yes: { type: "boolean", alias: "y", description: "do not ask before the start" },
  "dry-run": { type: "boolean", description: "show what would happen, and leave no trace" },
  format: FORMAT_ARG,
  prompt: {
    type: "string",
    alias: "p",
    description: "one task without a terminal; stdout is the agent's",
    valueHint: "text",
  },
  detach: { type: "boolean", alias: "d", description: "leave it running without a terminal" },
  "remote-control": { type: "boolean", description: "start Claude with its remote control" },
  profile: { type: "boolean", description: "print how long each phase took" },
} as const

export interface SessionArgs {
  yes?: boolean | undefined
  "dry-run"?: boolean | undefined
  format?: string | undefined
  prompt?: string | undefined
  detach?: boolean | undefined
  "remote-control"?: boolean | undefined
  profile?: boolean | undefined
}

/** The part of a start that these arguments decide. Throws a usage error for those that do not go together. */
export function sessionSpec(args: SessionArgs, rawArgs: string[]): Omit<StartSpec, "agent"> {
  if (args.prompt !== undefined && args.detach) throw usageError("--prompt and --detach do not go together")
  if (args.prompt === "") {
    throw usageError("--prompt is empty", "Give the task as text: --prompt 'Fix the tests'")
  }
  const alone = args["dry-run"] || args.detach
  if (formatOf(args.format) === "json" && !alone) {
    throw usageError("--format json needs --dry-run or --detach", "", "else stdout is the agent's")
  }
  return {
    ...(args.prompt === undefined ? {} : { task: args.prompt }),
    detach: args.detach === true,
    terminal: process.stdin.isTTY && isTerminal("stdout"),
    purpose: args["dry-run"] ? "dry-run" : "start",
    remoteControl: args["remote-control"] === true,
    args: rawArgs.includes("--") ? rawArgs.slice(rawArgs.indexOf("--") + 1) : [],
  }
}

export function sessionOptions(args: SessionArgs): SessionOptions {
  return {
    yes: args.yes === true,
    dryRun: args["dry-run"] === true,
    format: formatOf(args.format),
    profile: args.profile === true,
  }
}
