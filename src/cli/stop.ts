/** `bottle stop <identity>`: ends the agent, and settles the bottle like any other end. */
import { defineCommand } from "citty"
import { showable } from "../policy/denial.ts"
import { BottleError, reasonOf } from "../runtime/error.ts"
import { paint, tell } from "../runtime/output.ts"
import { settleOnce } from "../session/settle.ts"
import { findBottle, withGateway } from "./bottles.ts"
import { cliContext } from "./context.ts"

/** Time the agent has to end by itself, in milliseconds. */
const GRACE_MS = 8000

export default defineCommand({
  meta: { name: "bottle stop", description: "End a running bottle; its work is kept when there is any" },
  args: { identity: { type: "positional", required: true, description: "as `bottle list active` shows it" } },
  async run({ args }) {
    const { home } = cliContext()
    const bottle = await findBottle(home, args.identity)
    const { identity } = bottle.state
    const colour = paint("stderr")
    const active = (await bottle.backend.list()).find((other) => other.identity === identity)
    if (active === undefined) {
      throw new BottleError({
        what: `${identity} does not run`,
        why: "its agent has ended",
        next: `Run \`bottle resume ${identity}\` to go on with it`,
      })
    }
    let told = false
    if (active.status === "running") {
      try {
        await withGateway(bottle, (client) => client.stop(GRACE_MS))
        told = true
      } catch (error) {
        const reason = showable(reasonOf(error), 400)
        tell(colour.warn(`Its gateway could not end it, so it is ended from outside: ${reason}`))
      }
    }
    // One that had ended before keeps its own status.
    const settled = await settleOnce(bottle.backend, bottle.state, active.status === "ended" ? undefined : 0)
    if (settled === undefined) {
      // A start that is under way has the bottle, and a gateway that nobody reached has ended nothing.
      if (told) tell(`Stopped ${identity}; the terminal attached to it tells the rest.`)
      else {
        throw new BottleError({
          what: `${identity} was not stopped`,
          why: "another command is starting or ending it",
          next: "Wait for that command to end, then see `bottle list active`",
        })
      }
      return 0
    }
    tell(
      settled.kept
        ? `Stopped ${identity}, kept: ${settled.reason}.`
        : `Stopped ${identity}; there was nothing to keep.`,
    )
    if (settled.kept) tell(`Go on with it: ${colour.name(`bottle resume ${identity}`)}`)
    return 0
  },
})
