/**
 * An agent that does what a test says: a shell script under the name `claude`, put into the bottle's image by a
 * Dockerfile of the user's. It starts in milliseconds; all around it is the real thing.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { homeDigest, LABEL_HOME, namesOf, networkOf } from "../../src/backend/docker/names.ts"
import { type RunResult, run, type StreamingProcess, spawnStreaming } from "../../src/runtime/spawn.ts"
import { onTerminal, type TerminalProgram } from "../fixtures/terminal.ts"
import { createWorld, type World } from "./world.ts"

export interface StartOptions {
  /** Arguments of `bottle start` after the agent's name and --yes */
  args?: string[]
  /** Folder to call from instead of the world's */
  cwd?: string
  /** Variables of the host besides the world's */
  env?: Record<string, string>
}

export interface Scripted extends AsyncDisposable {
  world: World
  /** `bottle start scripted --yes ...` to its end */
  start(script: string, options?: StartOptions): Promise<RunResult>
  /** Starts it detached; answers with its identity */
  detached(script: string, options?: StartOptions): Promise<string>
  /** Starts it as a process of its own, to be signalled while it runs */
  spawn(script: string, options?: StartOptions): StreamingProcess
  /** Starts it on a terminal */
  terminal(script: string, options?: StartOptions): TerminalProgram
  /** Any `bottle` command on a terminal */
  onTerminal(...args: string[]): TerminalProgram
  /** A `bottle` command with another environment */
  bottleWith(env: Record<string, string>, ...args: string[]): Promise<RunResult>
  /** Runs a shell line inside the sandbox as the agent's user; answers with its stdout, trimmed */
  inside(identity: string, line: string): Promise<string>
  /** Waits until both containers have ended */
  ended(identity: string): Promise<void>
  /** Everything of this home that is there */
  remains(): Promise<Remains>
  /** Ends every bottle of this home and removes what is left, kept work included */
  discardAll(): Promise<void>
}

export interface Remains {
  containers: string[]
  volumes: string[]
  networks: string[]
  /** Entries of the home's state folder */
  state: string[]
}

export const NOTHING: Remains = { containers: [], volumes: [], networks: [], state: [] }

/** An agent that stays until it is ended. */
export const STAY = "exec sleep infinity"

export async function createScripted(): Promise<Scripted> {
  const world = await createWorld()
  const folder = join(world.home, "..", "image")
  mkdirSync(folder)
  writeFileSync(join(folder, "claude"), '#!/bin/bash\nexec bash -c "$SCRIPT" claude "$@"\n')
  writeFileSync(
    join(folder, "Dockerfile"),
    "ARG BOTTLE_AGENT\nFROM $BOTTLE_AGENT\nCOPY --chmod=0755 claude /usr/local/bin/claude\n",
  )
  world.bottleFile(
    "scripted",
    `env: { SCRIPT: "\${AGENT_SCRIPT}" }\nagent_provider: { dockerfile: ${join(folder, "Dockerfile")} }`,
  )
  world.agentFile("scripted", "bottle: scripted")

  const startArgs = (options: StartOptions) => ["start", "scripted", "--yes", ...(options.args ?? [])]
  const request = (script: string, options: StartOptions) => ({
    cwd: options.cwd ?? world.cwd,
    env: { ...world.env, ...options.env, AGENT_SCRIPT: script },
  })
  const lines = async (...args: string[]) => (await world.docker(...args)).split("\n").filter(Boolean).sort()
  const scripted: Scripted = {
    world,
    start: (script, options = {}) => run([...world.command, ...startArgs(options)], request(script, options)),
    detached: async (script, options = {}) => {
      const result = await scripted.start(script, {
        ...options,
        args: ["--detach", ...(options.args ?? [])],
      })
      if (result.code !== 0) throw new Error(`the start left with ${result.code}:\n${result.stderr}`)
      return result.stdout.trim()
    },
    spawn: (script, options = {}) =>
      spawnStreaming([...world.command, ...startArgs(options)], request(script, options)),
    terminal: (script, options = {}) =>
      onTerminal([...world.command, ...startArgs(options)], request(script, options)),
    onTerminal: (...args) =>
      onTerminal([...world.command, ...args], { cwd: world.cwd, env: { ...world.env, AGENT_SCRIPT: STAY } }),
    bottleWith: (env, ...args) =>
      run([...world.command, ...args], { cwd: world.cwd, env: { ...world.env, ...env } }),
    inside: (identity, line) =>
      world.docker("exec", "--user", "1000:1000", namesOf(identity).agent, "bash", "-c", line),
    ended: async (identity) => {
      await world.docker("wait", namesOf(identity).agent, namesOf(identity).sidecars)
    },
    remains: async () => {
      const digest = homeDigest(world.home)
      const ours = ["--filter", `label=${LABEL_HOME}=${digest}`]
      const [containers, volumes, networks] = await Promise.all([
        lines("ps", "--all", "--format", "{{.Names}}", ...ours),
        lines("volume", "ls", "--format", "{{.Name}}", ...ours),
        lines("network", "ls", "--format", "{{.Name}}", "--filter", `name=^${networkOf(digest)}$`),
      ])
      const glob = new Bun.Glob("*")
      const root = join(world.home, "state")
      const state = [...glob.scanSync({ cwd: world.home, onlyFiles: false, dot: true })].includes("state")
        ? [...glob.scanSync({ cwd: root, onlyFiles: false, dot: true })].sort()
        : []
      return { containers, volumes, networks, state }
    },
    discardAll: async () => {
      const { containers, volumes, state } = await scripted.remains()
      if (containers.length > 0) await world.docker("rm", "--force", ...containers)
      if (volumes.length > 0) await world.docker("volume", "rm", ...volumes)
      for (const name of state) rmSync(join(world.home, "state", name), { recursive: true, force: true })
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
  return scripted
}
