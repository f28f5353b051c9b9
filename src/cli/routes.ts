/** `bottle routes show|edit <identity>`: what a running bottle may reach, and changing it while it runs. */
import { defineCommand } from "citty"
import { showableJson } from "../policy/denial.ts"
import { paint, print, tell } from "../runtime/output.ts"
import { findBottle, withGateway } from "./bottles.ts"
import { cliContext, FORMAT_ARG, formatOf } from "./context.ts"
import { editText } from "./edit-text.ts"

const IDENTITY = {
  type: "positional",
  required: true,
  description: "as `bottle list active` shows it",
} as const

const show = defineCommand({
  meta: { name: "bottle routes show", description: "Show the live routes" },
  args: { identity: IDENTITY, format: FORMAT_ARG },
  async run({ args }) {
    const bottle = await findBottle(cliContext().home, args.identity)
    const { routesText, livePolicy } = await import("../gateway/routes-text.ts")
    const policy = await withGateway(bottle, (client) => livePolicy(client, bottle.state.identity))
    if (formatOf(args.format) === "json") print(showableJson(policy.routes, 2))
    else print(routesText(policy))
  },
})

const edit = defineCommand({
  meta: {
    name: "bottle routes edit",
    description: "Change the live routes in $EDITOR; a broken edit changes nothing",
  },
  args: {
    identity: IDENTITY,
    file: { type: "string", description: "take the routes from a file, - for stdin", valueHint: "path" },
  },
  async run({ args }) {
    const bottle = await findBottle(cliContext().home, args.identity)
    const { parseRoutes, routesText, livePolicy } = await import("../gateway/routes-text.ts")
    const before = await withGateway(bottle, (client) => livePolicy(client, bottle.state.identity))
    const given = await editText(routesText(before), {
      name: `${bottle.state.identity}-routes.yaml`,
      ...(args.file === undefined ? {} : { file: args.file }),
      check: (text) => parseRoutes(text, before),
    })
    const colour = paint("stderr")
    if (given === undefined) {
      tell("Nothing changed.")
      return 0
    }
    const loaded = await withGateway(bottle, (client) => client.policy(given))
    tell(`${colour.good("live")} ${given.routes.length} routes, generation ${loaded.generation}`)
    tell(
      colour.dim(
        `For the next start too, change ${bottle.metadata.bottle}: bottle edit ${bottle.metadata.bottle}`,
      ),
    )
    return 0
  },
})

export default defineCommand({
  meta: { name: "bottle routes", description: "Show or change what a running bottle may reach" },
  subCommands: { show, edit },
})
