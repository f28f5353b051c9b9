/** A credential that the agent works with and never holds. */
import { showable } from "../../policy/denial.ts"
import { answerOf, isHello, shown } from "../answer.ts"
import type { Chapter, Step } from "../step.ts"

/** Longest credential that is shown when it is not the expected one, in characters */
const OTHER_MAX = 60

const placeholder: Step = {
  name: "placeholder",
  who: "agent",
  tried: () => "printenv",
  async run(stage, tried) {
    const result = await stage.sh(tried)
    const all = result.stdout.trim().split("\n")
    const own = all.filter((line) => line.startsWith("TOKEN="))
    const leaked = result.stdout.includes(stage.token)
    const holds = result.code === 0 && !leaked && own.length === 1 && own[0] === `TOKEN=${stage.placeholder}`
    return {
      holds,
      seen: [...shown(own.join("\n")), `(and ${all.length - own.length} more variables)`],
      says: holds
        ? "It has a placeholder; the real token is in none of its variables"
        : leaked
          ? "The real token is in its environment"
          : "It was not given the placeholder",
    }
  },
}

const allowedCall: Step = {
  name: "allowed-call",
  who: "agent",
  tried: ({ tools, allowed }) => tools.fetch(`https://${allowed}/`, true),
  async run(stage, tried) {
    const before = stage.calls().length
    const result = await stage.sh(tried)
    const call = stage.calls().slice(before).at(-1)
    const arrived = call?.host === stage.allowed && call.authorization === `Bearer ${stage.token}`
    const back = answerOf(result).includes(stage.token)
    const holds = result.code === 0 && arrived && !back && isHello(result, stage.allowed)
    return {
      holds,
      seen: [...shown(answerOf(result)), `(the service got: ${shortened(call?.authorization, stage.token)})`],
      says: holds
        ? "The gateway put the real token in, and took it out of the answer"
        : !arrived
          ? "The service did not get the real token"
          : back
            ? "The real token came back to the agent"
            : "The service's answer did not come back",
    }
  },
}

/** A credential as it may be shown. */
function shortened(authorization: string | undefined, token: string): string {
  if (authorization === undefined) return "nothing"
  if (authorization === "") return "no token"
  if (authorization === `Bearer ${token}`)
    return `Bearer ${token.slice(0, 9)}...${token.slice(-4)}, the real one`
  return `${showable(authorization, OTHER_MAX)}, not the real one`
}

export const CREDENTIAL: Chapter = {
  title: "The agent works with a token that it never holds",
  steps: [placeholder, allowedCall],
}
