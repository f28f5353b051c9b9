/** `bottle attach <identity>`: joins the agent's terminal; `ctrl-\ d` leaves it running. */
import { defineCommand } from "citty"
import { BottleError, usageError } from "../runtime/error.ts"
import { isTerminal, paint, tell } from "../runtime/output.ts"
import { restoreTerminal } from "../runtime/terminal.ts"
import { settleOnce } from "../session/settle.ts"
import { findBottle } from "./bottles.ts"
import { cliContext } from "./context.ts"
import { tellSettled } from "./session.ts"
import { untilLeft } from "./user-part.ts"

export default defineCommand({
  meta: {
    name: "bottle attach",
    description: "Join the terminal of a running agent; ctrl-\\ d leaves it running",
  },
  args: { identity: { type: "positional", required: true, description: "as `bottle list active` shows it" } },
  async run({ args }) {
    const { home } = cliContext()
    const bottle = await findBottle(home, args.identity)
    const { identity } = bottle.state
    const active = (await bottle.backend.list()).find((other) => other.identity === identity)
    if (active === undefined || active.status === "ended") {
      throw new BottleError({
        what: `${identity} does not run`,
        why: "its agent has ended",
        next: `Run \`bottle resume ${identity}\` to go on with it, or \`bottle cleanup\``,
      })
    }
    if (!(process.stdin.isTTY && isTerminal("stdout")))
      throw usageError("An agent's terminal needs a terminal here too")
    const colour = paint("stderr")
    tell(colour.dim(`Joining ${identity}. Leave it running with ctrl-\\ d`))
    const user = new AbortController()
    const part = { end: bottle.backend.attach(identity, user.signal), leave: () => user.abort() }
    const { end, status } = await untilLeft(part, "terminal", { backend: bottle.backend, identity })
    if (bottle.backend.streams === "backend") restoreTerminal()
    if (end.kind === "detached") {
      tell(
        `Detached from ${colour.strong(identity)}, which runs on. Back to it: ${colour.name(`bottle attach ${identity}`)}`,
      )
      return status
    }
    const settled = await settleOnce(bottle.backend, bottle.state, end.code)
    if (settled !== undefined) tellSettled(identity, settled)
    return status
  },
})
