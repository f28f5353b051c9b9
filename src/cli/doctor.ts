/** `bottle doctor`: what works on this machine, and the command that mends what does not. */
import { defineCommand } from "citty"
import { needsOf } from "../backend/registry.ts"
import { showableJson } from "../policy/denial.ts"
import { thisMachine } from "../runtime/machine.ts"
import { columns, paint, print } from "../runtime/output.ts"
import { cliContext, FORMAT_ARG, formatOf } from "./context.ts"
import { folderNeeds } from "./doctor/folders.ts"
import { programNeeds } from "./doctor/programs.ts"
import { type Findings, findingsData, findingsText } from "./doctor/report.ts"
import { surroundingNeeds } from "./doctor/surroundings.ts"
import { callerPlaces } from "./manifests.ts"

/** What has not answered by then is told as such, in milliseconds; nobody waits longer for an answer about waiting. */
const WITHIN_MS = 1400

export default defineCommand({
  meta: { name: "bottle doctor", description: "Show what works on this machine, and how to mend the rest" },
  args: { format: FORMAT_ARG },
  async run({ args }) {
    const format = formatOf(args.format)
    const data = await findings(cliContext().home)
    const { ok } = findingsData(data)
    if (format === "json") print(showableJson(findingsData(data), 2))
    else print(findingsText(data, columns("stdout"), paint("stdout")))
    return ok ? 0 : 1
  },
})

async function findings(home: string): Promise<Findings> {
  const machine = thisMachine()
  const until = AbortSignal.timeout(WITHIN_MS)
  const [backends, programs] = await Promise.all([needsOf(home, until), programNeeds(machine, until)])
  const needs = [
    ...folderNeeds(callerPlaces(), machine),
    ...surroundingNeeds(machine, new Date()),
    ...programs,
  ]
  return { backends, needs }
}
