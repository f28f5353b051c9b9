/** The hosts that a route names, and no other. */
import { denialLine } from "../../policy/denial.ts"
import { answerOf, denialIn, shown } from "../answer.ts"
import type { Chapter, Step } from "../step.ts"

const refusedHost: Step = {
  name: "refused-host",
  who: "agent",
  tried: ({ tools, closed }) => tools.fetch(`https://${closed}/`, false),
  async run(stage, tried) {
    const before = stage.calls().length
    const result = await stage.sh(tried)
    const arrived = stage.calls().length > before
    const refusal = denialIn(result)
    const holds = !arrived && refusal?.by === "egress" && refusal.rule === "host-not-allowed"
    return {
      holds,
      seen: shown(refusal === undefined ? answerOf(result) : denialLine(refusal)),
      says: holds
        ? "The gateway refused it, and tells the agent why and whom to ask"
        : arrived
          ? "The request arrived at a host that no route names"
          : "The gateway did not say that it refused",
    }
  },
}

export const HOSTS: Chapter = {
  title: "It reaches the hosts that you allow, and no other",
  steps: [refusedHost],
}
