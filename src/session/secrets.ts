/** Reads the values that a start needs, after the user has agreed; they live in memory and in the gateway alone. */
import { resolveEnv, resolveToken } from "../bottle/env.ts"
import { askHidden, canAsk } from "../runtime/ask.ts"
import { BottleError } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"
import type { Prepared } from "./prepare.ts"

export interface Secrets {
  /** Credentials of the gateway, by id */
  tokens: Record<string, string>
  /** Variables of the manifest for the agent: exposed to it */
  agentEnv: Record<string, string>
}

export async function resolveSecrets(prepared: Prepared, home: string, env: HostEnv): Promise<Secrets> {
  const tokens: Record<string, string> = { ...prepared.compiled.values }
  for (const [id, source] of Object.entries(prepared.compiled.credentials)) {
    const scheme = prepared.compiled.policy.routes.find((route) => route.auth?.credential === id)?.auth
      ?.scheme
    tokens[id] = await resolveToken(source, { hostEnv: env, home, ...(scheme ? { scheme } : {}) })
  }
  const ask = (prompt: string) => {
    if (canAsk()) return askHidden(prompt)
    throw new BottleError({
      what: `Cannot ask for "${prompt}"`,
      why: "this is not a terminal",
      next: "Start it from a terminal, or let the manifest take the value from a host variable",
      exitCode: 2,
    })
  }
  const resolved = await resolveEnv(prepared.bottle.env, { hostEnv: env, ask })
  return { tokens, agentEnv: resolved.values }
}
