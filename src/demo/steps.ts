/**
 * The demo's story as a list: what is tried, and how its result is judged. Each judgement rests on what happened, never
 * on what ought to: the same commands without a sandbox around them must be judged as breaches.
 */
import { entryLine } from "../cli/log-line.ts"
import { type Denial, denial, denialLine, showable } from "../policy/denial.ts"
import type { LedgerEntry } from "../policy/ledger.ts"
import type { Paint } from "../runtime/output.ts"
import type { Seen, Stage } from "./stage.ts"

export interface Step {
  /** Kebab-case name, stable across versions */
  name: string
  /** Heading that it stands under, together with its neighbours of the same one */
  chapter: string
  /** Who acts: the agent in its sandbox, or the person outside */
  who: "agent" | "you"
  /** What is tried, as it would be typed */
  tried(stage: Stage): string
  run(stage: Stage, tried: string): Promise<Outcome>
}

export interface Outcome {
  holds: boolean
  /** What came back, a line each, safe to show */
  seen: string[]
  /** What that means, in a few words */
  says: string
}

/** Longest line that is shown, in characters */
const LINE_MAX = 400
/** Lines of an answer that are shown */
const LINES_MAX = 6
/** How bash and Bun tell that the kernel knows no way to an address (ENETUNREACH) */
const NO_WAY = /network is unreachable|ENETUNREACH/i
const NOT_THERE = /no such file or directory/i

const KEYS = "A credential that the agent uses and never holds"
const HOSTS = "Only the hosts that you allow"
const WAYS_OUT = "No other way out"
const MACHINE = "Nothing of this machine"
const CHANGE = "You decide, also while it runs"
const RECORD = "All of it is on record"

export const STEPS: readonly Step[] = [
  {
    name: "placeholder",
    chapter: KEYS,
    who: "agent",
    tried: () => "printenv",
    async run(stage, tried) {
      const result = await stage.sh(tried)
      const all = result.stdout.trim().split("\n")
      const own = all.filter((line) => line.startsWith("TOKEN="))
      const leaked = result.stdout.includes(stage.token)
      return {
        holds: result.code === 0 && !leaked && own.length === 1 && own[0] === `TOKEN=${stage.placeholder}`,
        seen: [...shown(own.join("\n")), `(and ${all.length - own.length} more)`],
        says: leaked
          ? "the real token is in the environment"
          : "a placeholder; the real token is in no variable",
      }
    },
  },
  {
    name: "allowed-call",
    chapter: KEYS,
    who: "agent",
    tried: ({ tools, allowed }) => tools.fetch(`https://${allowed}/`, true),
    async run(stage, tried) {
      const before = stage.calls().length
      const result = await stage.sh(tried)
      const call = stage.calls().slice(before).at(-1)
      const arrived = call?.host === stage.allowed && call.authorization === `Bearer ${stage.token}`
      const back = answerOf(result).includes(stage.token)
      return {
        holds: result.code === 0 && arrived && !back && isHello(result, stage.allowed),
        seen: [...shown(answerOf(result)), `the service got: ${shortened(call?.authorization, stage.token)}`],
        says: !arrived
          ? "the service did not get the real token"
          : back
            ? "the real token came back to the agent"
            : "the gateway put the real token in, and took it out of the answer",
      }
    },
  },
  {
    name: "refused-host",
    chapter: HOSTS,
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
        says: arrived
          ? "the request arrived at a host that no route names"
          : holds
            ? "refused by the gateway, and the agent can read why and whom to ask"
            : "the gateway did not say that it refused",
      }
    },
  },
  unreachable("raw-socket", ({ tools, outside }) => tools.tcp(outside.address, outside.tcpPort)),
  unreachable("dns-server", ({ tools, outside }) => tools.udp(outside.address, outside.udpPort)),
  {
    name: "dns-name",
    chapter: WAYS_OUT,
    who: "agent",
    tried: ({ tools, outside }) => tools.lookup(outside.name),
    async run(stage, tried) {
      const result = await stage.sh(tried)
      // getent(1): 2 stands for a name that was not found.
      const holds = result.code === 2 && result.stdout.trim() === ""
      return {
        holds,
        seen: shown(answerOf(result)),
        says: holds ? "no name is resolved inside" : "the sandbox resolves names",
      }
    },
  },
  {
    name: "host-loopback",
    chapter: WAYS_OUT,
    who: "agent",
    tried: ({ tools, bystander }) => tools.tcp("127.0.0.1", bystander.port),
    async run(stage, tried) {
      const open = await stage.bystander.answersHost()
      const before = stage.bystander.visits()
      const result = await stage.sh(tried)
      const visited = stage.bystander.visits() > before
      const refused = failed(result) && /refused/i.test(answerOf(result))
      return {
        holds: open && !visited && refused,
        seen: shown(answerOf(result)).slice(-1),
        says: !open
          ? "the port does not answer the host either, so that nothing was shown"
          : visited
            ? "the agent reached a port of this machine"
            : refused
              ? "this port answers outside; inside, 127.0.0.1 is the sandbox's own"
              : "it was not refused",
      }
    },
  },
  notThere("host-files", ({ hostFolder }) => `ls ${hostFolder}`, "your files are not there"),
  notThere("host-passwords", () => "cat /etc/shadow", "nor is what the system keeps to itself"),
  {
    name: "no-root",
    chapter: MACHINE,
    who: "agent",
    tried: () => "id -u; stat -c '/usr is of %U' /usr; touch /usr/mine",
    async run(stage, tried) {
      const result = await stage.sh(tried)
      const [uid = "", owner = ""] = result.stdout.split("\n")
      const readOnly = failed(result) && /read-only/i.test(result.stderr)
      const holds = /^[1-9][0-9]*$/.test(uid) && owner === "/usr is of nobody" && readOnly
      return {
        holds,
        seen: shown(answerOf(result)),
        says: holds ? "root is nobody in here, and the system is read-only" : "the agent has too much power",
      }
    },
  },
  {
    name: "policy-change",
    chapter: CHANGE,
    who: "you",
    tried: ({ identity, closed }) => `bottle routes edit ${identity}  # add: host: ${closed}`,
    async run(stage) {
      const generation = await stage.open(stage.closed)
      return {
        holds: generation > 1,
        seen: [`live, generation ${generation}`],
        says:
          generation > 1
            ? "the gateway has the new rules; nothing was restarted"
            : "the policy did not change",
      }
    },
  },
  {
    name: "opened-host",
    chapter: CHANGE,
    who: "agent",
    tried: ({ tools, closed }) => tools.fetch(`https://${closed}/`, false),
    async run(stage, tried) {
      const before = stage.calls().length
      const result = await stage.sh(tried)
      const call = stage.calls().slice(before).at(-1)
      const arrived = call?.host === stage.closed
      // A token is for the host whose route names it.
      const bare = call?.authorization === ""
      return {
        holds: result.code === 0 && arrived && bare && isHello(result, stage.closed),
        seen: shown(answerOf(result)),
        says: !arrived
          ? "the call does not pass, although its host is allowed now"
          : bare
            ? "the same call passes now, and no token goes to this host"
            : "a token went to a host that has none",
      }
    },
  },
  {
    name: "ledger",
    chapter: RECORD,
    who: "you",
    tried: ({ identity }) => `bottle log ${identity} --verify`,
    async run(stage) {
      const { entries, whole, says } = await stage.ledger()
      const has = (kind: string, host: string) =>
        entries.some((entry) => entry.kind === kind && entry.data.host === host)
      const complete = has("allow", stage.allowed) && has("deny", stage.closed) && has("allow", stage.closed)
      const leaked = JSON.stringify(entries).includes(stage.token)
      return {
        holds: whole && complete && !leaked,
        seen: entries.filter(isTold).map((entry) => entryLine(entry, PLAIN)),
        says: leaked
          ? "the ledger holds the real token"
          : complete
            ? says
            : "calls are missing in the ledger",
      }
    },
  },
]

/** A way out that the kernel must refuse at once; whatever merely stays unanswered has left the sandbox. */
function unreachable(name: string, tried: Step["tried"]): Step {
  return {
    name,
    chapter: WAYS_OUT,
    who: "agent",
    tried,
    async run(stage, tried) {
      const result = await stage.sh(tried)
      const holds = failed(result) && NO_WAY.test(answerOf(result))
      return {
        holds,
        // bash says it twice, the second time with the address.
        seen: shown(answerOf(result)).slice(-1),
        says: holds ? "the kernel knows no way there" : "the kernel let it out of the sandbox",
      }
    },
  }
}

/** Something of the host that must not exist inside: that it may not be read would be another, lower wall. */
function notThere(name: string, tried: Step["tried"], says: string): Step {
  return {
    name,
    chapter: MACHINE,
    who: "agent",
    tried,
    async run(stage, tried) {
      const result = await stage.sh(tried)
      const holds = failed(result) && result.stdout === "" && NOT_THERE.test(result.stderr)
      return {
        holds,
        seen: shown(answerOf(result)),
        says: holds ? says : "it is there",
      }
    },
  }
}

/** False also for what did not end in time. */
function failed({ code }: Seen): boolean {
  return code !== undefined && code !== 0
}

/** What a person would have seen on the terminal. */
function answerOf({ code, stdout, stderr }: Seen): string {
  if (code === undefined) return `${stdout}${stderr}\n(no end within its time)`
  return `${stdout}${stderr}`.trim() === "" ? `(no answer, exit status ${code})` : `${stdout}${stderr}`
}

function shown(text: string): string[] {
  const lines = text
    .trim()
    .split("\n")
    .map((line) => showable(line, LINE_MAX))
  return lines.length <= LINES_MAX
    ? lines
    : [...lines.slice(0, LINES_MAX - 1), `(and ${lines.length - LINES_MAX + 1} more)`]
}

/** Only the service itself answers so. */
function isHello(result: Seen, host: string): boolean {
  return answerOf(result).includes(`{"hello":"${host}"`)
}

function denialIn(result: Seen): Denial | undefined {
  try {
    return denial.safeParse(JSON.parse(result.stdout)).data
  } catch {
    return undefined
  }
}

/** A token as it may be shown. */
function shortened(authorization: string | undefined, token: string): string {
  if (authorization === undefined) return "nothing"
  if (authorization === "") return "no token"
  if (authorization === `Bearer ${token}`)
    return `Bearer ${token.slice(0, 9)}...${token.slice(-4)} (the real one)`
  return `${showable(authorization, 60)} (not the real one)`
}

/** What happened, without the coming and going of the gateway's own parts. */
function isTold({ by, kind }: LedgerEntry): boolean {
  return by === "egress" && (kind === "allow" || kind === "deny")
}

const same = (text: string) => text
const PLAIN: Paint = { strong: same, dim: same, good: same, warn: same, bad: same, name: same }
