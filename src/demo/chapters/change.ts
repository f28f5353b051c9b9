/** The policy as a person changes it under a running agent. */
import { answerOf, isHello, shown } from "../answer.ts"
import type { Chapter, Step } from "../step.ts"

const policyChange: Step = {
  name: "policy-change",
  who: "you",
  tried: ({ identity }) => `bottle routes edit ${identity}`,
  async run(stage) {
    const generation = await stage.open(stage.closed)
    const holds = generation > 1
    return {
      holds,
      seen: [`+ host: ${stage.closed}`, `live, generation ${generation}`],
      says: holds ? "The gateway has the new rules, and nothing was restarted" : "The policy did not change",
    }
  },
}

const openedHost: Step = {
  name: "opened-host",
  who: "agent",
  tried: ({ tools, closed }) => tools.fetch(`https://${closed}/`, false),
  async run(stage, tried) {
    const before = stage.calls().length
    const result = await stage.sh(tried)
    const call = stage.calls().slice(before).at(-1)
    const arrived = call?.host === stage.closed
    // A token is for the host whose route names it.
    const bare = call?.authorization === ""
    const holds = result.code === 0 && arrived && bare && isHello(result, stage.closed)
    return {
      holds,
      seen: shown(answerOf(result)),
      says: holds
        ? "The same call passes now, and this host gets no token"
        : !arrived
          ? "The call does not pass, although its host is allowed now"
          : !bare
            ? "A token went to a host that has none"
            : "The service's answer did not come back",
    }
  },
}

export const CHANGE: Chapter = {
  title: "You change the rules while it runs",
  steps: [policyChange, openedHost],
}
