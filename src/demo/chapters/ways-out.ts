/** Ways around the gateway: a socket of one's own, DNS, and what listens on this machine. */
import { answerOf, failed, shown } from "../answer.ts"
import type { Chapter, Step } from "../step.ts"

/** How bash and Bun tell that the kernel knows no way to an address (ENETUNREACH) */
const NO_WAY = /network is unreachable|ENETUNREACH/i

/** A way out that the kernel must refuse at once; whatever merely stays unanswered has left the sandbox. */
function unreachable(name: string, tried: Step["tried"], says: string): Step {
  return {
    name,
    who: "agent",
    tried,
    async run(stage, tried) {
      const result = await stage.sh(tried)
      const holds = failed(result) && NO_WAY.test(answerOf(result))
      return {
        holds,
        // bash says it twice, the second time with the address.
        seen: shown(answerOf(result)).slice(-1),
        says: holds ? says : "The kernel did not say that there is no way out",
      }
    },
  }
}

const dnsName: Step = {
  name: "dns-name",
  who: "agent",
  tried: ({ tools, outside }) => tools.lookup(outside.name),
  async run(stage, tried) {
    const result = await stage.sh(tried)
    // getent(1): 2 stands for a name that was not found.
    const holds = result.code === 2 && result.stdout.trim() === ""
    return {
      holds,
      seen: shown(answerOf(result)),
      says: holds ? "It learns no addresses: only the gateway looks names up" : "The sandbox resolves names",
    }
  },
}

const hostLoopback: Step = {
  name: "host-loopback",
  who: "agent",
  tried: ({ tools, bystander }) => tools.tcp("127.0.0.1", bystander.port),
  async run(stage, tried) {
    const open = await stage.bystander.answersHost()
    const before = stage.bystander.visits()
    const result = await stage.sh(tried)
    const visited = stage.bystander.visits() > before
    const refused = failed(result) && /refused/i.test(answerOf(result))
    const holds = open && !visited && refused
    return {
      holds,
      seen: shown(answerOf(result)).slice(-1),
      says: holds
        ? "That port answers on this machine; inside, 127.0.0.1 is the sandbox"
        : !open
          ? "The port does not answer this machine either, so that nothing was shown"
          : visited
            ? "The agent reached a port of this machine"
            : "The connection was not refused",
    }
  },
}

export const WAYS_OUT: Chapter = {
  title: "There is no other way out",
  steps: [
    unreachable(
      "raw-socket",
      ({ tools, outside }) => tools.tcp(outside.address, outside.tcpPort),
      "A connection past the gateway finds no network",
    ),
    unreachable(
      "dns-server",
      ({ tools, outside }) => tools.udp(outside.address, outside.udpPort),
      "Nor can it ask a DNS server",
    ),
    dnsName,
    hostLoopback,
  ],
}
