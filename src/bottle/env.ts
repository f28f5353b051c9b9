/** Turns what a bottle says about the agent's environment into values. Messages hold names, never values. */
import type { EnvValue } from "../manifest/types.ts"
import { BottleError } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"
import { SECRET_MIN } from "./token.ts"

export { resolveToken, tokenPlace } from "./token.ts"

export interface EnvContext {
  hostEnv: HostEnv
  /** Asks the person without echo; gives the answer as typed */
  ask: (question: string) => Promise<string>
  /** `Bottle.at`: where keys stand, for messages */
  at?: Record<string, string>
}

export interface ResolvedEnv {
  /** Values by name */
  values: Record<string, string>
  /** Values that must not leave the bottle: what was asked for, where it is long enough to be recognised */
  secrets: string[]
  /** Names of asked values that are too short to be recognised on their way out */
  tooShort: string[]
}

/** Resolves every variable; host variables first, so that nobody types a password before an error. */
export async function resolveEnv(env: Record<string, EnvValue>, context: EnvContext): Promise<ResolvedEnv> {
  const entries = Object.entries(env)
  checkHostVariables(entries, context)
  const answers = new Map<string, string>()
  for (const [name, value] of entries) {
    if (value.kind === "asked") answers.set(name, await answerTo(name, value.prompt, context))
  }
  const values: Record<string, string> = {}
  for (const [name, value] of entries) {
    if (value.kind === "literal") values[name] = value.value
    else values[name] = value.kind === "asked" ? answers.get(name)! : context.hostEnv[value.variable]!
    refuseNul(name, values[name], context)
  }
  const asked = [...answers]
  return {
    values,
    secrets: [...new Set(asked.map(([, value]) => value).filter((value) => value.length >= SECRET_MIN))],
    tooShort: asked.filter(([, value]) => value.length < SECRET_MIN).map(([name]) => name),
  }
}

function checkHostVariables(entries: [string, EnvValue][], context: EnvContext): void {
  const unset = entries.flatMap(([name, value]) =>
    value.kind === "host" && context.hostEnv[value.variable] === undefined
      ? [{ name, from: value.variable }]
      : [],
  )
  if (unset.length === 0) return
  throw new BottleError({
    what: "The agent's environment needs host variables that are not set",
    why: unset
      .map(({ name, from }) => `env.${name} takes its value from ${from}${placeOf(name, context)}`)
      .join("\n"),
    next: unset.map(({ from }) => `export ${from}=...`).join("\n"),
  })
}

async function answerTo(name: string, prompt: string, context: EnvContext): Promise<string> {
  const answer = await context.ask(prompt === "" ? `Value of ${name}` : `${prompt} (${name})`)
  if (answer !== "") return answer
  throw new BottleError({
    what: `Nothing was entered for ${name}`,
    why: `the bottle asks for it at each start${placeOf(name, context)}`,
    next: "Start again and enter it, or take it out of the bottle's env",
  })
}

/** execve(2) ends a value at its first NUL, so the agent would see another value than was meant. */
function refuseNul(name: string, value: string, context: EnvContext): void {
  if (!value.includes("\0")) return
  throw new BottleError({
    what: `The value of ${name} cannot be an environment variable`,
    why: `it holds a NUL byte${placeOf(name, context)}`,
    next: "Give it another value",
  })
}

function placeOf(name: string, { at }: EnvContext): string {
  const place = at?.[`env.${name}`]
  return place === undefined ? "" : ` (${place})`
}
