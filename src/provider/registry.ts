/** The providers this version can run. */
import type { ProviderName } from "../manifest/types.ts"
import { BottleError } from "../runtime/error.ts"
import { claude } from "./claude.ts"
import { command } from "./command.ts"
import type { Provider } from "./types.ts"

const PROVIDERS: Partial<Record<ProviderName, Provider>> = { claude, command }

/** The provider of that name, or an error that says it is known and not served yet. */
export function providerNamed(name: ProviderName): Provider {
  const provider = PROVIDERS[name]
  if (provider !== undefined) return provider
  throw new BottleError({
    what: `The provider \`${name}\` is known, but this version of bottle does not run it yet`,
    why: `this version runs: ${Object.keys(PROVIDERS).join(", ")}`,
    next: "Write another `template` under `agent_provider` in the bottle",
  })
}
