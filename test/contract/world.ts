/**
 * A user's world for the backend contract: a home of its own with a bottle on one backend, and the `bottle` program as
 * people have it. What a test says here holds on every backend, for root and for an ordinary user.
 */
import { afterAll, afterEach, beforeAll, describe, setDefaultTimeout } from "bun:test"
import { randomInt } from "node:crypto"
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { homeDigest, LABEL_HOME, networkOf } from "../../src/backend/docker/names.ts"
import { type RunResult, run, type StreamingProcess, spawnStreaming } from "../../src/runtime/spawn.ts"
import { onTerminal, type TerminalProgram } from "../fixtures/terminal.ts"
import { bubblewrapObjects, docker, dockerObjects, type Objects, type Remains } from "./objects.ts"

/** The program as it is given to people; `bun scripts/build.ts` makes it */
export const PROGRAM =
  process.env.BOTTLE_CONTRACT_PROGRAM ?? join(import.meta.dir, "..", "..", "dist", "bottle")
/** A variable of the host's that belongs into no bottle */
export const CANARY = { name: "CONTRACT_CANARY", value: ["canary", "of", "the", "host"].join("-") }
/** Ordinary users of these tests: numbers that no account has */
const UIDS = { from: 610_000_000, to: 619_000_000 }

/** The first start on docker builds images, in milliseconds. */
const FIRST_START_MS = 600_000
/** No single test takes that long, in milliseconds. */
const TEST_MS = 120_000

export interface Kind {
  name: string
  backend: "docker" | "bubblewrap"
  /** Whether `bottle` is called by a user without privileges */
  ordinary: boolean
}

const DOCKER: Kind = { name: "docker", backend: "docker", ordinary: false }
export const BUBBLEWRAP: Kind[] = [
  { name: "bubblewrap, called by root", backend: "bubblewrap", ordinary: false },
  { name: "bubblewrap, called by an ordinary user", backend: "bubblewrap", ordinary: true },
]

export interface StartOptions {
  /** Arguments of `bottle start` after the agent's name and --yes */
  args?: string[]
  cwd?: string
  /** Variables of the caller's besides the world's */
  env?: Record<string, string>
  agent?: string
}

export interface World extends AsyncDisposable {
  kind: Kind
  /** BOTTLE_HOME */
  home: string
  /** Folder to call from */
  cwd: string
  env: Record<string, string>
  /** Path of `bottle`, where the caller can run it */
  program: string
  /** Who calls, when it is not this process's own user */
  as: { uid: number; gid: number } | undefined
  objects: Objects
  /** Makes a bottle on the backend, and an agent of the same name that is a bash */
  manifest(name: string, more?: string): void
  /** Makes what was written into the world's folders the caller's own */
  own(...paths: string[]): void
  bottle(...args: string[]): Promise<RunResult>
  bottleWith(env: Record<string, string>, ...args: string[]): Promise<RunResult>
  /** Runs `bottle` and expects it to succeed; answers with its stdout, trimmed */
  ok(...args: string[]): Promise<string>
  /** A start of a bash script to its end, on plain pipes */
  start(script: string, options?: StartOptions): Promise<RunResult>
  /** The same as a process of its own */
  spawn(script: string, options?: StartOptions): StreamingProcess
  /** Any `bottle` command as a process of its own */
  spawnBottle(...args: string[]): StreamingProcess
  /** Starts a script detached; answers with its identity */
  detached(script: string, options?: StartOptions): Promise<string>
  /** Starts a script on a terminal */
  terminal(script: string, options?: StartOptions): TerminalProgram
  /** Any `bottle` command on a terminal */
  onTerminal(...args: string[]): TerminalProgram
  /** Runs a line of bash beside the agent; answers with its stdout, trimmed */
  inside(identity: string, line: string): Promise<string>
  /** Waits inside until a condition of bash's holds */
  until(identity: string, condition: string): Promise<void>
  /** Waits until a detached bottle is listed as ended */
  ended(identity: string): Promise<void>
  /** A kept bottle again, with another script, to its end */
  resume(identity: string, script: string, options?: StartOptions): Promise<RunResult>
  remains(): Promise<Remains>
  /** Ends what runs and removes all that is left */
  discardAll(): Promise<void>
}

/** An agent that stays until it is ended. */
export const STAY = "exec sleep infinity"
/**
 * Stays, and runs its traps: bash puts them off while a program runs in the foreground, and loses a signal that comes
 * while it is about to `wait`, or runs the trap of that same signal.
 */
export const WAIT = staying(":")

/** An agent that stays, and runs a command at each of these signals: none is lost, one after the other. */
export function watching(signal: string, command: string): string {
  return `trap seen=1 ${signal}; ${staying(`[ "$seen" ] && seen= && ${command}`)}`
}

function staying(looking: string): string {
  return `exec 9<> <(:); while :; do ${looking}; read -rt 0.05 -u 9 _; done`
}

/** An agent on a terminal that answers each line, and ends on `exit N`. */
export const ECHO =
  'stty -echo; echo ready; while read -r word n; do [ "$word" = exit ] && exit $n; echo "got $word"; done'
/** ctrl-\ d */
export const DETACH = "\u001cd"

/** The identity in the line that tells how to go on with a kept bottle. */
export function keptIdentity({ stderr }: RunResult): string {
  const identity = /bottle resume (sh-[0-9a-z]{5})$/m.exec(stderr)?.[1]
  if (identity === undefined) throw new Error(`no line tells how to go on:\n${stderr}`)
  return identity
}

/** Runs the same tests on each backend. Every test begins and ends with a home in which nothing is left. */
export function onEveryBackend(define: (world: () => World) => void): void {
  onBackends([DOCKER, ...BUBBLEWRAP], define)
}

export function onBackends(kinds: Kind[], define: (world: () => World) => void): void {
  setDefaultTimeout(TEST_MS)
  for (const kind of kinds) {
    describe(kind.name, () => {
      let made: World | undefined
      const world = () => {
        if (made === undefined) throw new Error("the world is not there yet")
        return made
      }
      beforeAll(async () => {
        made = await createWorld(kind)
        await made.start("true")
      }, FIRST_START_MS)
      afterEach(async () => {
        await world().discardAll()
        world().manifest("sh")
      })
      afterAll(() => made?.[Symbol.asyncDispose]())
      define(world)
    })
  }
}

export async function createWorld(kind: Kind): Promise<World> {
  if (process.getuid?.() !== 0)
    throw new Error("the backend contract is run by root, who can be every caller")
  const root = mkdtempSync(join(tmpdir(), "bottle-contract-"))
  const uid = kind.ordinary ? randomInt(UIDS.from, UIDS.to) : undefined
  const as = uid === undefined ? undefined : { uid, gid: uid }
  const own = (...paths: string[]) => {
    if (uid !== undefined) for (const path of paths) chownSync(path, uid, uid)
  }
  const home = join(root, "home")
  const cwd = join(root, "work")
  const user = join(root, "user")
  for (const folder of [home, join(home, "bottles"), join(home, "agents"), cwd, user]) {
    mkdirSync(folder, { mode: 0o700 })
    own(folder)
  }
  own(root)
  const program = kind.ordinary ? reachable(PROGRAM, root) : PROGRAM
  accessSync(program, constants.X_OK)
  const env: Record<string, string> = {
    ...fromHost(["PATH", "BOTTLE_BASE_NODE", "BOTTLE_BASE_DEBIAN", "BOTTLE_EXTRA_CA_CERTS"]),
    HOME: user,
    BOTTLE_HOME: home,
    DOCKER_CONFIG: process.env.DOCKER_CONFIG ?? join(process.env.HOME ?? "/root", ".docker"),
    TERM: "xterm-256color",
    NO_COLOR: "1",
    [CANARY.name]: CANARY.value,
  }
  const write = (folder: string, name: string, frontmatter: string) => {
    const path = join(home, folder, `${name}.md`)
    writeFileSync(path, `---\n${frontmatter}\n---\n`)
    chmodSync(path, 0o600)
    own(path)
  }
  const objects = kind.backend === "docker" ? dockerObjects(home) : bubblewrapObjects(home)
  const request = (options: StartOptions = {}) => ({
    cwd: options.cwd ?? cwd,
    env: { ...env, ...options.env },
    ...(as === undefined ? {} : { as }),
  })
  const argv = (script: string, { agent = "sh", args = [] }: StartOptions) => [
    ...[program, "start", agent, "--yes", ...args],
    ...["--", "-c", script],
  ]
  const world: World = {
    kind,
    home,
    cwd,
    env,
    program,
    as,
    objects,
    own,
    manifest: (name, more = "") => {
      const provider = "agent_provider: { template: command, command: [bash] }"
      write("bottles", name, `backend: ${kind.backend}\n${provider}\n${more}`)
      write("agents", name, `bottle: ${name}`)
    },
    bottle: (...args) => run([program, ...args], request()),
    bottleWith: (more, ...args) => run([program, ...args], request({ env: more })),
    ok: async (...args) => {
      const result = await world.bottle(...args)
      if (result.code !== 0)
        throw new Error(`bottle ${args.join(" ")} left with ${result.code}:\n${result.stderr}`)
      return result.stdout.trim()
    },
    start: (script, options = {}) => run(argv(script, options), request(options)),
    spawn: (script, options = {}) => spawnStreaming(argv(script, options), request(options)),
    spawnBottle: (...args) => spawnStreaming([program, ...args], request()),
    detached: async (script, options = {}) => {
      const args = ["--detach", ...(options.args ?? [])]
      const result = await world.start(script, { ...options, args })
      if (result.code !== 0) throw new Error(`the start left with ${result.code}:\n${result.stderr}`)
      return result.stdout.trim()
    },
    terminal: (script, options = {}) => {
      const { cwd: at, env: variables } = request(options)
      return onTerminal(argv(script, options), { cwd: at, env: variables, ...as })
    },
    onTerminal: (...args) => onTerminal([program, ...args], { cwd, env, ...as }),
    inside: async (identity, line) => await world.ok("exec", identity, "--", "bash", "-c", line),
    until: async (identity, condition) => {
      // Looks again after 50 ms, without a program that would have to be there.
      await world.inside(identity, `until ${condition}; do read -rt 0.05 _ <> <(:) || :; done`)
    },
    ended: async (identity) => {
      const isEnded = (line: string) => line === `${kind.backend}\t${identity}\tsh\t\tended`
      while (!(await world.ok("list", "active")).split("\n").some(isEnded));
    },
    resume: (identity, script, options = {}) =>
      run(
        [program, "resume", identity, "--yes", ...(options.args ?? []), "--", "-c", script],
        request(options),
      ),
    remains: () => objects.remains(),
    discardAll: async () => {
      const { running, work, state } = await objects.remains()
      if (running.length + work.length + state.length === 0) return
      for (const identity of running) await world.bottle("stop", identity)
      await world.bottle("cleanup", "--yes")
      if (kind.backend === "docker") await removeDockerObjects(home)
      else {
        const { running: still } = await objects.remains()
        const left = await Promise.all(still.map((identity) => objects.processes(identity)))
        for (const { pid } of left.flat()) kill(pid)
      }
      rmSync(join(home, "state"), { recursive: true, force: true })
    },
    [Symbol.asyncDispose]: async () => {
      if (existsSync(home)) await world.discardAll()
      if (kind.backend === "docker") await run(["docker", "network", "rm", networkOf(homeDigest(home))])
      rmSync(root, { recursive: true, force: true })
    },
  }
  world.manifest("sh")
  return world
}

/** The program, or a copy of it where it lies in a folder that others may not enter. */
function reachable(path: string, root: string): string {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) break
    if (folder === dirname(folder)) return path
  }
  const copy = join(root, "bottle")
  copyFileSync(path, copy, constants.COPYFILE_FICLONE)
  chmodSync(copy, 0o755)
  return copy
}

function fromHost(names: string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  )
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It ended by itself.
  }
}

/** What a failed test left in Docker, found by the label of its own home alone. */
async function removeDockerObjects(home: string): Promise<void> {
  const ours = ["--filter", `label=${LABEL_HOME}=${homeDigest(home)}`]
  const ids = async (...args: string[]) => (await docker(...args, ...ours)).split("\n").filter(Boolean)
  const containers = await ids("ps", "--all", "--quiet")
  if (containers.length > 0) await docker("rm", "--force", "--volumes", ...containers)
  const volumes = await ids("volume", "ls", "--quiet")
  if (volumes.length > 0) await docker("volume", "rm", "--force", ...volumes)
}
