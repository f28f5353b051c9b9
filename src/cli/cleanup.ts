/** `bottle cleanup`: what ended and interrupted bottles left, from every backend; one question, a section each. */
import { defineCommand } from "citty"
import { sweep } from "../bottle/state.ts"
import { canAsk, confirm } from "../runtime/ask.ts"
import { reasonOf, usageError } from "../runtime/error.ts"
import { paint, tell } from "../runtime/output.ts"
import { type Findings, findGarbage, type Garbage, removeSharedLeftovers } from "../session/garbage.ts"
import { cliContext } from "./context.ts"

export default defineCommand({
  meta: {
    name: "bottle cleanup",
    description: "Remove what ended bottles left, but for kept work",
  },
  args: {
    yes: { type: "boolean", alias: "y", description: "do not ask" },
    "dry-run": { type: "boolean", description: "only show what would be removed" },
  },
  async run({ args }) {
    const { home } = cliContext()
    const colour = paint("stderr")
    const { items, unasked, unread } = await findGarbage(home)
    for (const { backend, reason, concerned } of unasked) {
      const hence = concerned ? "its bottles count as running" : "no bottle here is known to be its"
      tell(`${colour.warn(`skipped ${backend}:`)} ${reason}; ${hence}`)
    }
    // A user who may not use Docker, and never did, is not left with a failure at each cleanup.
    const missed = unasked.filter(({ concerned }) => concerned).length
    for (const { name, reason } of unread) tell(`${colour.warn(`left alone ${name}:`)} ${reason}`)
    if (items.length === 0) {
      tell("Nothing to clean up.")
      const failed = args["dry-run"] ? 0 : await tidy(home, unasked)
      return failed + missed > 0 ? 1 : 0
    }
    showSections(items)
    if (args["dry-run"]) return 0
    if (!args.yes) {
      if (!canAsk()) throw usageError("Cannot ask whether to remove without a terminal", "Add --yes")
      if (!(await confirm("Remove all of the above?"))) {
        tell("Nothing was removed.")
        return 1
      }
    }
    let failed = missed
    for (const item of items) {
      try {
        const outcome = await item.remove()
        tell(
          outcome === "" ? `${colour.good("removed")} ${item.name}` : `${colour.warn(item.name)} ${outcome}`,
        )
      } catch (error) {
        failed += 1
        tell(`${colour.bad("failed")} ${item.name}: ${reasonOf(error)}`)
      }
    }
    failed += await tidy(home, unasked)
    return failed > 0 ? 1 : 0
  },
})

/** Removes what belongs to no bottle. Answers with the number of failures. */
async function tidy(home: string, unasked: Findings["unasked"]): Promise<number> {
  await sweep(home)
  // One that did not answer before is not asked again.
  if (unasked.length > 0) return 0
  const failed = await removeSharedLeftovers(home)
  for (const { backend, reason } of failed) tell(`${paint("stderr").bad("failed")} ${backend}: ${reason}`)
  return failed.length
}

function showSections(items: Garbage[]): void {
  const colour = paint("stderr")
  let section = ""
  for (const item of items) {
    if (item.section !== section) tell(`${section === "" ? "" : "\n"}${colour.strong(item.section)}`)
    section = item.section
    tell(`  ${item.name}  ${colour.dim(item.about)}`)
  }
  tell("")
}
