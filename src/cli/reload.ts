/** `bottle reload <identity>`: loads a gateway that was restarted and refuses everything until then. */
import { defineCommand } from "citty"
import { lockState } from "../bottle/state.ts"
import { paint, tell } from "../runtime/output.ts"
import { authorityOf } from "../session/authority.ts"
import { prepare } from "../session/prepare.ts"
import { resolveSecrets } from "../session/secrets.ts"
import { findBottle, withGateway } from "./bottles.ts"
import { cliContext } from "./context.ts"

export default defineCommand({
  meta: {
    name: "bottle reload",
    description: "Load a gateway that was restarted, from the manifests as they are now",
  },
  args: { identity: { type: "positional", required: true, description: "as `bottle list active` shows it" } },
  async run({ args }) {
    const { home, env, manifests } = cliContext()
    const bottle = await findBottle(home, args.identity)
    const { identity } = bottle.state
    using _held = await lockState(bottle.state)
    const spec = {
      agent: bottle.metadata.agent,
      backend: bottle.metadata.backend,
      detach: true,
      remoteControl: false,
      args: [],
      resume: identity,
    }
    const prepared = await prepare(spec, { home, env, manifests: manifests() })
    const secrets = await resolveSecrets(prepared, home, env)
    await bottle.backend.restartGateway(identity)
    const loaded = await withGateway(bottle, async (client) => {
      const { status } = await client.status()
      return client.load({
        ca: await authorityOf(bottle.state),
        extra_ca: prepared.extraCa,
        tokens: secrets.tokens,
        policy: { ...prepared.compiled.policy, generation: status.generation + 1 },
      })
    })
    const routes = prepared.compiled.policy.routes.length
    tell(`${paint("stderr").good("loaded")} ${identity}: ${routes} routes, generation ${loaded.generation}`)
    return 0
  },
})
