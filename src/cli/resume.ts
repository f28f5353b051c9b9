/** `bottle resume <identity>`: the same bottle again, with its workspace and conversation. */
import { defineCommand } from "citty"
import { BottleError } from "../runtime/error.ts"
import { findBottle } from "./bottles.ts"
import { cliContext } from "./context.ts"
import { runSession } from "./session.ts"
import { SESSION_ARGS, sessionOptions, sessionSpec } from "./session-args.ts"

export default defineCommand({
  meta: {
    name: "bottle resume",
    description: "Start a kept bottle again, with its workspace and conversation",
  },
  args: {
    identity: { type: "positional", required: true, description: "as it was told when the agent ended" },
    ...SESSION_ARGS,
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
    return runSession(
      {
        agent: metadata.agent,
        backend: metadata.backend,
        ...sessionSpec(args, rawArgs),
        resume: state.identity,
      },
      context,
      sessionOptions(args),
    )
  },
})
