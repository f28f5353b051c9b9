/** `bottle reload <identity>`: loads a gateway that was restarted and refuses everything until then. */
import { defineCommand } from "citty"
import { trustIn } from "../manifest/trust.ts"
import { BottleError } from "../runtime/error.ts"
import { paint, tell } from "../runtime/output.ts"
import { authorityOf } from "../session/authority.ts"
import { type Prepared, prepare, type StartSpec } from "../session/prepare.ts"
import { resolveSecrets } from "../session/secrets.ts"
import { findBottle, withGateway } from "./bottles.ts"
import { cliContext } from "./context.ts"

export default defineCommand({
  meta: {
    name: "bottle reload",
    description: "Load a restarted gateway from the manifests as they are now",
  },
  args: { identity: { type: "positional", required: true, description: "as `bottle list active` shows it" } },
  async run({ args }) {
    const { home, env, manifests } = cliContext()
    const bottle = await findBottle(home, args.identity)
    const { identity } = bottle.state
    // Not under the state's lock: whoever sits at the agent's terminal holds that, and init takes loads one by one.
    const active = (await bottle.backend.list()).find((other) => other.identity === identity)
    if (active === undefined || active.status === "ended") {
      throw new BottleError({
        what: `${identity} does not run, so there is nothing to load`,
        why: "its agent has ended",
        next: `Run \`bottle resume ${identity}\` to go on with it`,
      })
    }
    const spec: StartSpec = {
      agent: bottle.metadata.agent,
      backend: bottle.metadata.backend,
      detach: true,
      terminal: false,
      purpose: "reload",
      remoteControl: false,
      args: [],
      resume: identity,
    }
    const prepared = await prepare(spec, { home, env, manifests: manifests() })
    await checkSame(prepared, bottle.metadata.bottle, home)
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

/**
 * Nobody is asked here, so nothing may be new: an agent's file in the current folder could name another bottle than the
 * one that was agreed to, and its credentials would go to an agent that runs already.
 */
async function checkSame({ agent, identity }: Prepared, bottle: string, home: string): Promise<void> {
  const next = `Stop it and start again, where you are asked: bottle stop ${identity}`
  if (agent.bottle !== bottle) {
    throw new BottleError({
      what: `${identity} was not loaded`,
      why: `the agent ${agent.name} runs in bottle ${bottle}, and its file names ${agent.bottle} now (${agent.file})`,
      next,
    })
  }
  if (agent.origin !== "home" && !(await trustIn(home).isTrusted(agent.hash))) {
    throw new BottleError({
      what: `${identity} was not loaded`,
      why: `the repository's agent ${agent.name} is not the one that was agreed to (${agent.file})`,
      next,
    })
  }
}
