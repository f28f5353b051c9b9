/** `bottle resume <identity>`: the same bottle again, with its workspace and conversation. */
import { defineCommand } from "citty"
import { BottleError, usageError } from "../runtime/error.ts"
import { isTerminal } from "../runtime/output.ts"
import { findBottle } from "./bottles.ts"
import { cliContext, FORMAT_ARG, formatOf } from "./context.ts"
import { runSession } from "./session.ts"

export default defineCommand({
  meta: {
    name: "bottle resume",
    description: "Start a kept bottle again, with its workspace and conversation",
  },
  args: {
    identity: { type: "positional", required: true, description: "as it was told when the agent ended" },
    yes: { type: "boolean", alias: "y", description: "do not ask before the start" },
    "dry-run": { type: "boolean", description: "show what would happen" },
    format: FORMAT_ARG,
    prompt: { type: "string", alias: "p", description: "one task without a terminal", valueHint: "text" },
    detach: { type: "boolean", alias: "d", description: "leave it running without a terminal" },
    "remote-control": { type: "boolean", description: "start Claude with its remote control" },
    profile: { type: "boolean", description: "print how long each phase took" },
  },
  async run({ args, rawArgs }) {
    const context = cliContext()
    const { metadata, backend, state } = await findBottle(context.home, args.identity)
    const active = (await backend.list()).find((other) => other.identity === state.identity)
    if (active !== undefined && active.status !== "ended") {
      throw new BottleError({
        what: `${state.identity} runs already`,
        next: `Join it: bottle attach ${state.identity}`,
      })
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
      {
        agent: metadata.agent,
        backend: metadata.backend,
        ...(args.prompt === undefined ? {} : { task: args.prompt }),
        detach: args.detach === true,
        remoteControl: args["remote-control"] === true,
        args: rawArgs.includes("--") ? rawArgs.slice(rawArgs.indexOf("--") + 1) : [],
        resume: state.identity,
      },
      context,
      {
        yes: args.yes === true,
        dryRun: args["dry-run"] === true,
        format: formatOf(args.format),
        profile: args.profile === true,
      },
    )
  },
})
