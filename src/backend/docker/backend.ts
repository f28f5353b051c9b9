/** The docker backend: the room where the others are joined to the interface. */
import type { Backend } from "../types.ts"
import { collectBottle } from "./collect.ts"
import { docker } from "./docker.ts"
import { attachBottle, controlOf, launchBottle } from "./launch.ts"
import { listBottles } from "./list.ts"
import { homeDigest, namesOf } from "./names.ts"
import { dockerNeeds } from "./needs.ts"
import { probeDocker } from "./probe.ts"
import { findLeftovers, removeBottle, removeNetwork } from "./remove.ts"

/** `home` is $BOTTLE_HOME: only its bottles are seen and touched. */
export function dockerBackend(home: string): Backend {
  const digest = homeDigest(home)
  return {
    name: "docker",
    streams: "backend",
    copiesAgain: true,
    programs: "images",
    gatewayNetwork: "own",
    probe: (_limits, signal) => probeDocker(signal),
    needs: (signal) => dockerNeeds(signal),
    launch: (plan, scope, begun, load) => launchBottle(plan, digest, scope, begun, load),
    attach: attachBottle,
    signal: async (identity, signal) => {
      await docker("pass a signal to the agent", ["kill", "--signal", signal, namesOf(identity).agent])
    },
    control: controlOf,
    restartGateway: async (identity) => {
      await docker("start the gateway", ["start", namesOf(identity).sidecars])
    },
    list: (signal) => listBottles(digest, signal),
    collect: collectBottle,
    remove: removeBottle,
    leftovers: (signal) => findLeftovers(digest, signal),
    removeShared: () => removeNetwork(digest),
  }
}
