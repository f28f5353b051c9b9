/**
 * Real bottles on bubblewrap as the attacker's place, and controls of them: sandboxes of the same options, made by the
 * same code, with one gate taken out. Commands run beside the agent, with its environment, user and confinement.
 */
import { afterAll, beforeAll, describe, setDefaultTimeout } from "bun:test"
import { randomInt } from "node:crypto"
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { text } from "node:stream/consumers"
import { spawnConfined } from "../../../sidecars/init/confined.ts"
import { daemonSystem } from "../../../src/backend/bubblewrap/daemon-system.ts"
import {
  AGENT,
  type Confinement,
  daemonOptions,
  PER_USER_FILES,
  sandboxOptions,
} from "../../../src/backend/bubblewrap/options.ts"
import { bwrapHere } from "../../../src/backend/bubblewrap/probe.ts"
import { uidOf } from "../../../src/backend/bubblewrap/roles.ts"
import { type SeccompArch, seccompFilter } from "../../../src/backend/bubblewrap/seccomp/filter.ts"
import { systemMounts } from "../../../src/backend/bubblewrap/system.ts"
import { EGRESS_SOCKET } from "../../../src/policy/paths.ts"
import type { ProgramArgument } from "../../../src/policy/wire/keeper.ts"
import { lastLines, run } from "../../../src/runtime/spawn.ts"
import { allProcesses } from "../../contract/objects.ts"
import { BUBBLEWRAP, createWorld, STAY, type World } from "../../contract/world.ts"
import { type Victim, victim } from "../attacks.ts"

export type { World } from "../../contract/world.ts"
export type { Outcome } from "../attacks.ts"

/** The program as it is given to people; `bun scripts/build.ts` makes it */
export const PROGRAM =
  process.env.BOTTLE_CONTRACT_PROGRAM ?? join(import.meta.dir, "..", "..", "..", "dist", "bottle")
/** Time that one test may take, in milliseconds */
const TEST_MS = 120_000
/** A folder that everyone can reach, over which root shows what its own folders hold */
const SHOWN_AT = "/mnt"
/** Status of what was killed */
const KILLED = 137
const TMPFS_BYTES = 64 * 1024 * 1024
/** Users of controls: numbers that no account and no bottle has */
const UIDS = { from: 620_000_000, to: 629_000_000 }

export interface Caller {
  /** Whether `bottle` is called by a user without privileges */
  ordinary: boolean
  world: World
  /** User and group on the host whose processes the agent's are */
  agentUid(bottle: RunningBottle): number
}

/** Runs the same tests for root's bottles and for an ordinary user's. */
export function forEachCaller(define: (caller: () => Caller) => void): void {
  setDefaultTimeout(TEST_MS)
  for (const kind of BUBBLEWRAP) {
    describe(kind.name, () => {
      let world: World | undefined
      beforeAll(async () => {
        world = await createWorld(kind)
      }, TEST_MS)
      define(() => {
        const here = world as World
        const agentUid = ({ identity }: RunningBottle) =>
          here.as?.uid ?? (uidOf(identity, "agent", 0) as number)
        return { ordinary: kind.ordinary, world: here, agentUid }
      })
      // Hooks run in their order, and this one takes the folders away.
      afterAll(() => world?.[Symbol.asyncDispose](), TEST_MS)
    })
  }
}

export interface RunningBottle extends Victim {
  identity: string
  /** Its state folder on the host */
  dir: string
}

export interface Bottle extends RunningBottle, AsyncDisposable {}

/** Starts a bottle detached. `more` is frontmatter of its bottle; `args` are of `bottle start`. */
export async function startBottle(world: World, more = "", args: string[] = []): Promise<Bottle> {
  world.manifest("sh", more)
  const identity = await world.detached(STAY, { args })
  return {
    ...bottleNamed(world, identity),
    [Symbol.asyncDispose]: async () => {
      await world.bottle("stop", identity)
    },
  }
}

/** One that is there, and not ended with a scope. */
export function bottleNamed(world: World, identity: string): RunningBottle {
  const { cwd, env, as } = world
  const inside = victim(
    async (argv, { stdin = "", withinS = 60 } = {}) =>
      await run([PROGRAM, "exec", identity, "--", ...argv], {
        input: stdin,
        timeoutMs: withinS * 1000,
        cwd,
        env,
        ...(as === undefined ? {} : { as }),
      }),
  )
  return { identity, dir: join(world.home, "state", identity), ...inside }
}

/** The host itself, as one of its users. */
export function outside(as?: { uid: number; gid: number }): Victim {
  return victim(
    async (argv, { stdin = "", withinS = 60 } = {}) =>
      await run(argv, {
        input: stdin,
        timeoutMs: withinS * 1000,
        cwd: "/",
        env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
        ...(as === undefined ? {} : { as }),
      }),
  )
}

/** Options of bwrap with something taken out of them, put in or changed. */
export type Edit = (options: ProgramArgument[]) => ProgramArgument[]

/** Takes an option out, with its operands; `last` is the last of these where the option is there several times. */
export function without(option: string, operands = 0, last?: string): Edit {
  return (options) => {
    const at = options.findIndex(
      (one, n) => one === option && (last === undefined || options[n + operands] === last),
    )
    if (at < 0) throw new Error(`a sandbox has no ${option}`)
    return options.toSpliced(at, 1 + operands)
  }
}

/** Adds mounts before the sandbox is sealed. */
export function withMounts(...added: ProgramArgument[]): Edit {
  return (options) => {
    const sealed = options.findIndex((option, at) => option === "--remount-ro" && options[at + 1] === "/")
    return options.toSpliced(sealed, 0, ...added)
  }
}

/** All capabilities instead of none; outside a user namespace they are the host's. */
export const withCapabilities: Edit = (options) =>
  options.map((option, at) => (option === "--cap-drop" && options[at + 1] === "ALL" ? "--cap-add" : option))

export const withoutSeccomp = without("--seccomp", 1)

/** For a control that root runs. */
const withoutUserNamespace: Edit = (options) =>
  [without("--unshare-user"), without("--disable-userns"), without("--uid", 1), without("--gid", 1)].reduce(
    (left, edit) => edit(left),
    options,
  )

export interface ControlOptions {
  /** User and group on the host that it is run as; absent is one that nobody else is */
  uid?: number
  /** Command put before bwrap's own */
  before?: string[]
  /** The bwrap to start, absolute; absent is the first on PATH */
  bwrap?: string
}

export interface Control extends Victim, Disposable {
  uid: number
  /** Its folders on the host */
  folders: { home: string; workspace: string; sockets: string }
}

/** A sandbox as the product makes it, but for the edits. Each command runs in one of its own, with the same folders. */
export function control(edits: Edit[] = [], options: ControlOptions = {}): Control {
  const top = realpathSync(mkdtempSync(join(tmpdir(), "bottle-control-")))
  chmodSync(top, 0o755)
  const uid = options.uid ?? randomInt(UIDS.from, UIDS.to)
  const folders = { home: join(top, "home"), workspace: join(top, "work"), sockets: join(top, "sock") }
  for (const folder of Object.values(folders)) {
    mkdirSync(folder)
    chownSync(folder, uid, uid)
  }
  const whole = sandboxOptions(confinementOf("control"), folders, {
    system: systemMounts("control"),
    tool: [],
  })
  const edited = edits.reduce((left, edit) => edit(left), whole)
  return {
    ...confined(edited, uid, top, options),
    uid,
    folders,
    [Symbol.dispose]: () => rmSync(top, { recursive: true, force: true }),
  }
}

/** Each command in a bubblewrap of its own with these options. `scratch` is a folder of ours for files without a name. */
function confined(
  options: ProgramArgument[],
  uid: number,
  scratch: string,
  { before = [], bwrap = bwrapHere() }: Pick<ControlOptions, "before" | "bwrap"> = {},
): Victim {
  return victim(async (command, { stdin = "", withinS = 60 } = {}) => {
    const child = spawnConfined(
      { argv: [...before, bwrap], options, command, uid },
      ["pipe", "pipe", "pipe"],
      { folder: scratch, reach: (path) => path },
    )
    const late = setTimeout(() => child.kill("SIGKILL"), withinS * 1000)
    const code = new Promise<number>((resolve, reject) => {
      child.once("exit", (status) => resolve(status ?? KILLED))
      child.once("error", reject)
    })
    child.stdin?.on("error", () => {})
    child.stdin?.end(stdin)
    const [stdout, stderr, left] = await Promise.all([text(child.stdout!), text(child.stderr!), code])
    clearTimeout(late)
    return { code: left, stdout, stderr }
  })
}

/**
 * In the place of a bottle's egress: its user, its confinement, its folder of sockets, and in its stead the attacker.
 * `edits` take gates out.
 */
export function inPlaceOfEgress(bottle: Bottle, world: World, edits: Edit[] = []): Victim & Disposable {
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), "bottle-daemon-")))
  const from = join(bottle.dir, "sock", "egress")
  const uid = world.as?.uid ?? (uidOf(bottle.identity, "egress", 0) as number)
  const confinement = confinementOf("egress")
  // As root's keeper does it, for a user who has no way through root's folders.
  const shown = world.as === undefined ? SHOWN_AT : from
  const sockets = { from: shown, to: dirname(EGRESS_SOCKET) }
  const whole = daemonOptions(confinement, { sockets, network: true }, daemonSystem({}))
  const options = edits.reduce((left, edit) => edit(left), whole)
  const drop = ["setpriv", "--reuid", String(uid), "--regid", String(uid), "--clear-groups"]
  const show = `mount --bind '${from}' ${SHOWN_AT} && exec ${drop.join(" ")} "$@"`
  const victim =
    world.as === undefined
      ? confined(options, 0, scratch, { before: ["unshare", "--mount", "sh", "-c", show, "sh"] })
      : confined(options, uid, scratch)
  return { ...victim, [Symbol.dispose]: () => rmSync(scratch, { recursive: true }) }
}

function confinementOf(hostname: string): Confinement {
  return {
    hostname,
    ...AGENT,
    seccomp: Buffer.from(seccompFilter(process.arch as SeccompArch)).toString("base64"),
    program: { file: "/usr/bin/env", args: () => [], env: {} },
    env: {},
    tmpfsBytes: TMPFS_BYTES,
    hidden: PER_USER_FILES.filter((path) => existsSync(path)),
  }
}

/** The host's real root, without a filter, still in mount, pid and network namespaces of its own. */
export function asHostRoot(...edits: Edit[]): Control {
  return control([withoutSeccomp, withCapabilities, withoutUserNamespace, ...edits], { uid: 0 })
}

/** Runs a command on the host and expects it to succeed. */
export async function host(...argv: string[]): Promise<string> {
  const result = await run(argv)
  if (result.code !== 0) throw new Error(`${argv.join(" ")}: ${lastLines(result.stderr, 5)}`)
  return result.stdout
}

/** Processes of a bottle as the host counts, of which its sandboxes have the last to be started. */
export async function processesOf(
  bottle: RunningBottle,
): Promise<{ keeper: number; egress: number; agent: number }> {
  const owner = JSON.parse(readFileSync(join(bottle.dir, "gateway", "keeper.pid"), "utf8")) as { pid: number }
  const found = allProcesses()
    .sort((a, b) => a - b)
    // Root's keeper sees all of it too, and each bwrap outside what its keeper sees.
    .filter((pid) => pid !== owner.pid && procFile(pid, "comm").trim() !== "bwrap")
    .map((pid) => ({ pid, mounts: procFile(pid, "mountinfo") }))
  const last = (place: string) =>
    found.findLast(({ mounts }) => mounts.includes(`${bottle.identity}/${place}`))
  const egress = last("sock/egress ")?.pid
  const agent = last("workspace ")?.pid
  if (egress === undefined || agent === undefined) throw new Error("the bottle does not run")
  return { keeper: owner.pid, egress, agent }
}

/** Empty for a process that has ended. */
export function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8")
  } catch {
    return ""
  }
}
