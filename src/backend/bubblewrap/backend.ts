/** The bubblewrap backend: the room where the others are joined to the interface. */
import { join } from "node:path"
import { ControlClient } from "../../gateway/control-client.ts"
import { exitNote } from "../../policy/wire/lifeline.ts"
import { readBounded } from "../../runtime/durable-file.ts"
import { hostEnv } from "../../runtime/home.ts"
import type { Backend, Remains } from "../types.ts"
import { controlOf } from "./keeper.ts"
import { takeKeeper, warmKeeper } from "./keeper-start.ts"
import { launchBottle } from "./launch.ts"
import { findLeftovers, listBottles } from "./list.ts"
import { placesOf } from "./places.ts"
import { bwrapHere, probeBubblewrap } from "./probe.ts"
import { removeBottle } from "./remove.ts"
import { joinAgent } from "./session.ts"
import { findTool, type Tool } from "./tool.ts"
import { triedBubblewrap } from "./trial.ts"

const EXIT_MAX = 64 * 1024

/** `home` is $BOTTLE_HOME: only its bottles are seen and touched. */
export function bubblewrapBackend(home: string): Backend {
  const tools = new Map<string, Tool>()
  const tool = (program: string) => {
    const found = tools.get(program) ?? findTool(program, hostEnv())
    tools.set(program, found)
    return found
  }
  return {
    name: "bubblewrap",
    streams: "inner",
    copiesAgain: false,
    gatewayNetwork: "host",
    probe: probeBubblewrap,
    needs: triedBubblewrap,
    programs: "host",
    checkProgram: (program) =>
      tool(program).mounts.flatMap((mount) => (mount.kind === "ro-bind" ? [mount.from] : [])),
    launch: (plan, scope, begun, load) =>
      launchBottle(
        plan,
        { home, bwrap: bwrapHere(), tool: tool(plan.program), keeper: takeKeeper() },
        scope,
        begun,
        load,
      ),
    warm: warmKeeper,
    attach: async (identity, leave) => {
      const places = placesOf(home, identity)
      return (await joinAgent(places, controlOf(places), "terminal", leave)).ended
    },
    signal: async (identity, signal) => {
      await using client = new ControlClient(identity, controlOf(placesOf(home, identity)))
      await client.signal(signal)
    },
    control: (identity) => controlOf(placesOf(home, identity)),
    restartGateway: async (identity) => {
      // Nothing to start while it runs; when it ended, so did the agent.
      await controlOf(placesOf(home, identity))[Symbol.asyncDispose]()
    },
    list: () => listBottles(home),
    collect: (identity) => collectBottle(home, identity),
    remove: (identity, options) => removeBottle(home, identity, options),
    leftovers: () => findLeftovers(home),
    removeShared: async () => {},
  }
}

/**
 * Ledger and log are written where they are kept; only how the agent ended has to be read. A note that a power cut left
 * empty tells nothing: then the end was not seen, and the bottle is kept.
 */
async function collectBottle(home: string, identity: string): Promise<Remains> {
  const content = await readBounded(join(placesOf(home, identity).state.gateway, "exit.json"), EXIT_MAX)
  if (content === undefined) return {}
  try {
    const exit = exitNote().safeParse(JSON.parse(content.toString())).data
    return exit === undefined ? {} : { exit }
  } catch {
    return {}
  }
}
