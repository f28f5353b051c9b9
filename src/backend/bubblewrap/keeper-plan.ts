/** What the keeper of a bottle is to start: pure but for looking at what this machine has. */
import { existsSync } from "node:fs"
import { basename, join } from "node:path"
import { LATE_COMPILER, STEADY_THREADS } from "../../policy/limits.ts"
import { EGRESS_SOCKET } from "../../policy/paths.ts"
import type { ConfinedProgram, KeeperPlan } from "../../policy/wire/keeper.ts"
import type { SidecarProgram } from "../../runtime/program.ts"
import type { SandboxPlan } from "../types.ts"
import { daemonSystem } from "./daemon-system.ts"
import { limitsHere, rlimitPrefix, tmpfsSize } from "./limits.ts"
import {
  AGENT,
  BUNDLE_INSIDE,
  type Confinement,
  daemonOptions,
  PER_USER_FILES,
  PROGRAM_INSIDE,
  sandboxOptions,
} from "./options.ts"
import type { Places } from "./places.ts"
import { uidOf } from "./roles.ts"
import { type SeccompArch, seccompFilter } from "./seccomp/filter.ts"
import { systemMounts } from "./system.ts"
import type { Tool } from "./tool.ts"

/** A daemon holds nothing large in files. */
const DAEMON_TMPFS_BYTES = 16 * 1024 * 1024

/** Programs of this machine. */
export interface Sources {
  /** Absolute path */
  bwrap: string
  gateway: SidecarProgram
  inner: SidecarProgram
}

/** `cgroups` are the folders that were made for this bottle. */
export function keeperPlan(
  plan: SandboxPlan,
  tool: Tool,
  places: Places,
  sources: Sources,
  cgroups: string[],
): KeeperPlan {
  const seccomp = Buffer.from(seccompFilter(process.arch as SeccompArch)).toString("base64")
  return {
    identity: plan.identity,
    dir: places.state.dir,
    daemons: plan.daemons.map((name) => ({
      name,
      program: daemonProgram(name, plan, places, sources, seccomp),
    })),
    sandbox: sandboxProgram(plan, tool, places, sources, seccomp, cgroups),
    guarded: [places.workspace, places.home],
  }
}

function sandboxProgram(
  plan: SandboxPlan,
  tool: Tool,
  places: Places,
  sources: Sources,
  seccomp: string,
  cgroups: string[],
): ConfinedProgram {
  const confinement: Confinement = {
    hostname: plan.identity,
    ...AGENT,
    seccomp,
    program: sources.inner,
    env: { ...STEADY_THREADS, ...LATE_COMPILER },
    tmpfsBytes: tmpfsSize(plan.limits),
    hidden: PER_USER_FILES.filter((path) => existsSync(path)),
  }
  const { nproc } = limitsHere(plan.limits)
  return {
    argv: [sources.bwrap],
    options: sandboxOptions(confinement, places, {
      system: systemMounts(plan.identity),
      tool: tool.mounts,
    }),
    command: [
      ...(nproc === undefined ? [] : rlimitPrefix(nproc)),
      PROGRAM_INSIDE,
      ...sources.inner.args(BUNDLE_INSIDE),
    ],
    ...ownUser(uidOf(plan.identity, "agent")),
    cgroups,
  }
}

/** egress is the only one that speaks with the outside. */
function daemonProgram(
  name: string,
  plan: SandboxPlan,
  places: Places,
  sources: Sources,
  seccomp: string,
): ConfinedProgram {
  const folder = basename(EGRESS_SOCKET, ".sock")
  const confinement: Confinement = {
    hostname: name,
    uid: AGENT.uid,
    gid: AGENT.gid,
    seccomp,
    program: sources.gateway,
    env: LATE_COMPILER,
    tmpfsBytes: DAEMON_TMPFS_BYTES,
    hidden: PER_USER_FILES.filter((path) => existsSync(path)),
  }
  const sockets = {
    from: join(places.sockets, folder),
    to: EGRESS_SOCKET.slice(0, EGRESS_SOCKET.lastIndexOf("/")),
  }
  return {
    argv: [sources.bwrap],
    options: daemonOptions(confinement, { sockets, network: true }, daemonSystem(plan.extraHosts)),
    command: [PROGRAM_INSIDE, ...sources.gateway.args(BUNDLE_INSIDE), name],
    ...ownUser(uidOf(plan.identity, "egress")),
  }
}

function ownUser(uid: number | undefined): { uid?: number } {
  return uid === undefined ? {} : { uid }
}
