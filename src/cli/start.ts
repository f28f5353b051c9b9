/** `bottle start [agent]`: preflight, question, launch, session, settlement. */

import { statSync } from "node:fs"
import { resolve } from "node:path"
import { defineCommand } from "citty"
import { usageError } from "../runtime/error.ts"
import { isTerminal } from "../runtime/output.ts"
import type { StartSpec } from "../session/prepare.ts"
import { cliContext, FORMAT_ARG, formatOf } from "./context.ts"
import { pickAgent } from "./pick.ts"
import { runSession } from "./session.ts"

export default defineCommand({
  meta: { name: "bottle start", description: "Start an agent in a new bottle" },
  args: {
    agent: {
      type: "positional",
      required: false,
      description: "name of the agent; asked when there are several",
    },
    yes: { type: "boolean", alias: "y", description: "do not ask before the start" },
    "dry-run": { type: "boolean", description: "show what would happen, and leave no trace" },
    format: FORMAT_ARG,
    backend: { type: "string", description: "docker", valueHint: "name" },
    cwd: { type: "boolean", description: "copy the current folder, .git included, to /workspace" },
    prompt: {
      type: "string",
      alias: "p",
      description: "one task without a terminal; stdout is the agent's",
      valueHint: "text",
    },
    detach: { type: "boolean", alias: "d", description: "leave it running without a terminal" },
    "remote-control": { type: "boolean", description: "start Claude with its remote control" },
    profile: { type: "boolean", description: "print how long each phase took" },
  },
  async run({ args, rawArgs }) {
    const context = cliContext()
    const manifests = context.manifests()
    if (args.prompt !== undefined && args.detach) throw usageError("--prompt and --detach do not go together")
    if (args.prompt === "")
      throw usageError("--prompt is empty", "Give the task as text: --prompt 'Fix the tests'")
    const agent = args.agent ?? (await pickAgent(manifests.agents()))
    // Whatever is wrong with the agent is told before anything about this call.
    manifests.agent(agent)
    const spec: StartSpec = {
      agent,
      ...(args.backend === undefined ? {} : { backend: args.backend }),
      ...(args.cwd ? { cwd: workspaceSource(context.cwd) } : {}),
      ...(args.prompt === undefined ? {} : { task: args.prompt }),
      detach: args.detach === true,
      remoteControl: args["remote-control"] === true,
      args: rawArgs.includes("--") ? rawArgs.slice(rawArgs.indexOf("--") + 1) : [],
    }
    if (
      !args.detach &&
      args.prompt === undefined &&
      !args["dry-run"] &&
      !(process.stdin.isTTY && isTerminal("stdout"))
    ) {
      throw usageError(
        "An interactive agent needs a terminal",
        "Give it a task with --prompt, or use --detach",
      )
    }
    return runSession(
      spec,
      { ...context, manifests: () => manifests },
      {
        yes: args.yes === true,
        dryRun: args["dry-run"] === true,
        format: formatOf(args.format),
        profile: args.profile === true,
      },
    )
  },
})

/** A linked worktree's `.git` is a file that points out of the folder: a copy of it would not be a repository. */
function workspaceSource(cwd: string): string {
  const git = statSync(resolve(cwd, ".git"), { throwIfNoEntry: false })
  if (git?.isFile()) {
    throw usageError(
      `${cwd} is a linked git worktree, which cannot be copied by itself`,
      "Start from a clone: git clone . ../copy && cd ../copy",
      "its .git is a file that points to the repository elsewhere",
    )
  }
  return cwd
}
