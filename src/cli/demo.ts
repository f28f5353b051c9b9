/** `bottle demo`: a bottle with an agent that tries its walls, on a bare machine, with real results. */
import { randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { defineCommand } from "citty"
import { backendNamed } from "../backend/registry.ts"
import { startDemoBottle } from "../demo/bottle.ts"
import { ALLOWED_HOST, CLOSED_HOST, makeHome, PLACEHOLDER } from "../demo/home.ts"
import { isGreeted, startNetwork } from "../demo/service.ts"
import type { Stage } from "../demo/stage.ts"
import type { Outcome, Step } from "../demo/step.ts"
import { CHAPTERS } from "../demo/steps.ts"
import { Story } from "../demo/story.ts"
import { FIND_TOOLS, toolsOf } from "../demo/tools.ts"
import { showableJson } from "../policy/denial.ts"
import { BottleError } from "../runtime/error.ts"
import { hostEnv, userHome } from "../runtime/home.ts"
import { allowLostReader, columns, paint, print, tell } from "../runtime/output.ts"
import { StartScope } from "../session/scope.ts"
import { cliContext, FORMAT_ARG, formatOf } from "./context.ts"
import { backendText, works } from "./doctor/report.ts"

/** Not of this world (RFC 5737): a broken wall bothers nobody. The name is one that the world's DNS knows. */
const OUTSIDE = { address: "192.0.2.1", tcpPort: 443, udpPort: 53, name: "example.com" }

export default defineCommand({
  meta: {
    name: "bottle demo",
    description: "See in seconds what a bottle does, with nothing set up",
  },
  args: { format: FORMAT_ARG },
  async run({ args }) {
    const format = formatOf(args.format)
    if (!(await canRun())) return 1
    // Neither a signal nor a reader who has seen enough may end us while there is something to be taken back.
    using _ = untouched()
    allowLostReader()
    return await play(format)
  },
})

/** The demo is for machines where nothing is set up, so that only bubblewrap will do; what it lacks is told. */
async function canRun(): Promise<boolean> {
  const { home } = cliContext()
  const { name, needs } = await backendNamed("bubblewrap", home)
  // As doctor asks, which tries a sandbox, too: some containers have all of it and allow none of it.
  const found = { backend: name, served: true, needs: await needs() }
  if (works(found)) return true
  tell("The demo runs on bubblewrap, which does not work here yet:\n\n")
  tell(backendText(found, columns("stderr"), paint("stderr")))
  return false
}

async function play(format: "text" | "json"): Promise<number> {
  const from = performance.now()
  const story = format === "text" ? new Story(columns("stdout"), paint("stdout")) : undefined
  if (story) print(story.opening())
  const token = `demo-${randomBytes(10).toString("hex")}`
  const scope = new StartScope(() => {})
  try {
    await using network = await startNetwork([ALLOWED_HOST, CLOSED_HOST])
    await using home = makeHome(network, token, hostEnv())
    const starting = performance.now()
    await using bottle = await startDemoBottle(home, scope)
    if (story) print(story.started(bottle.identity, performance.now() - starting, bottle.about))
    const programs = await bottle.sh(FIND_TOOLS)
    const tools = toolsOf(new Set(programs.stdout.split("\n")))
    const stage: Stage = {
      identity: bottle.identity,
      allowed: ALLOWED_HOST,
      closed: CLOSED_HOST,
      token,
      placeholder: PLACEHOLDER,
      outside: OUTSIDE,
      hostFolder: hostFolder(home.home),
      tools,
      sh: (command) => bottle.sh(`${tools.prelude}${command}`),
      calls: () => network.calls,
      bystander: {
        port: network.bystanderPort,
        answersHost: () => isGreeted(network.bystanderPort),
        visits: network.visits,
      },
      open: bottle.open,
      ledger: bottle.ledger,
    }
    await runSteps(stage, story, scope.signal)
  } finally {
    scope.release()
  }
  if (story) print(story.closing(performance.now() - from))
  return 0
}

/** Step by step, each told before it is tried. Throws a BottleError at the first that does not hold. */
async function runSteps(stage: Stage, story: Story | undefined, signal: AbortSignal): Promise<void> {
  for (const chapter of CHAPTERS) {
    if (story) print(story.chapter(chapter))
    for (const step of chapter.steps) {
      signal.throwIfAborted()
      const tried = step.tried(stage)
      if (story) print(story.trying(step, tried))
      const outcome = await step.run(stage, tried)
      if (story) print(story.outcome(outcome))
      else print(showableJson({ name: step.name, ok: outcome.holds, tried, seen: outcome.seen.join("\n") }))
      if (!outcome.holds) throw broken(step, outcome)
    }
  }
}

function broken({ name }: Step, { says }: Outcome): BottleError {
  return new BottleError({
    what: `What a bottle promises does not hold here: ${name}`,
    why: says,
    next: "Let no agent run on this machine yet: run `bottle doctor`, and report what is above",
  })
}

/** The person's home as far as a sandbox cannot have one of that name by itself; else the demo's own folder. */
function hostFolder(demoHome: string): string {
  const own = userHome(hostEnv())
  const theirs = /^(\/root|\/home\/(?!agent$)[\w.-]+)$/.test(own) && existsSync(own)
  return theirs ? own : demoHome
}

/** Signals are heard by the start's scope alone. */
function untouched(): Disposable {
  const heard = () => {}
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const
  for (const signal of signals) process.on(signal, heard)
  return {
    [Symbol.dispose]() {
      for (const signal of signals) process.off(signal, heard)
    },
  }
}
