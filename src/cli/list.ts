/** `bottle list active|available`. */
import { defineCommand } from "citty"
import { cliContext, FORMAT_ARG, formatOf } from "./context.ts"
import { listActive } from "./list/active.ts"
import { listAvailable } from "./list/available.ts"

const active = defineCommand({
  meta: {
    name: "bottle list active",
    description: "Running bottles, one a line: backend, identity, agent, services",
  },
  args: { format: FORMAT_ARG },
  async run({ args }) {
    return listActive(cliContext().home, formatOf(args.format))
  },
})

const available = defineCommand({
  meta: { name: "bottle list available", description: "Agents that can be started here" },
  args: { format: FORMAT_ARG },
  async run({ args }) {
    listAvailable(cliContext().manifests(), formatOf(args.format))
  },
})

export default defineCommand({
  meta: { name: "bottle list", description: "List active bottles, or available agents" },
  subCommands: { active, available },
})
