/**
 * A user's world for one test file: a BOTTLE_HOME of its own, a stand-in for the Messages API that gateways reach under
 * the name api.anthropic.com, and the `bottle` command. Everything of it is gone with its scope.
 */
import { randomBytes } from "node:crypto"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { homeDigest, LABEL_HOME, networkOf } from "../../src/backend/docker/names.ts"
import { lastLines, run } from "../../src/runtime/spawn.ts"
import { type MessagesApi, type MessagesApiOptions, startMessagesApi } from "../fixtures/messages-api.ts"
import { createTestAuthority, type TestAuthority } from "../fixtures/test-authority.ts"

export const PROJECT = join(import.meta.dir, "..", "..")
const MAIN = join(PROJECT, "src", "main.ts")

export interface World extends AsyncDisposable {
  /** BOTTLE_HOME */
  home: string
  /** A folder to call from */
  cwd: string
  env: Record<string, string>
  /** The credential that the gateway holds and the agent never sees */
  token: string
  api: MessagesApi
  /** Address of this machine that gateways reach */
  hostAddress: string
  authority: TestAuthority
  /** The command without its arguments, as it runs in `cwd` with `env` */
  command: string[]
  bottleFile(name: string, frontmatter: string): void
  agentFile(name: string, frontmatter: string, prompt?: string): void
  /** Runs the command; what it wrote and its exit status */
  bottle(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>
  /** Runs the command and expects it to succeed; answers with its stdout, trimmed */
  ok(...args: string[]): Promise<string>
  /** Runs docker; answers with its stdout, trimmed */
  docker(...args: string[]): Promise<string>
}

export interface WorldOptions {
  answer?: MessagesApiOptions["answer"]
}

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const root = mkdtempSync(join(tmpdir(), "bottle-world-"))
  const home = join(root, "home")
  const cwd = join(root, "work")
  for (const folder of [home, join(home, "bottles"), join(home, "agents"), cwd])
    mkdirSync(folder, { mode: 0o700 })

  const network = `bottle-world-${randomBytes(6).toString("hex")}`
  const hostAddress = await ownAddress(network)
  const authority = await createTestAuthority()
  const pair = await authority.leaf(["api.anthropic.com"])
  const caFile = join(root, "extra-ca.pem")
  const api = await startMessagesApi({
    ...pair,
    host: hostAddress,
    port: 443,
    ...(options.answer ? { answer: options.answer } : {}),
  })
  const build = process.env.BOTTLE_EXTRA_CA_CERTS
  // The build's own extra authorities are needed as well: images may have to be built first.
  writeFileSync(caFile, `${build ? await Bun.file(build).text() : ""}\n${authority.cert}`)

  const token = `sk-ant-oat01-${randomBytes(24).toString("hex")}`
  const env: Record<string, string> = {
    ...definedEnv(),
    BOTTLE_HOME: home,
    BOTTLE_EXTRA_CA_CERTS: caFile,
    BOTTLE_EXTRA_HOSTS: `api.anthropic.com=${hostAddress}`,
    CLAUDE_CODE_OAUTH_TOKEN: token,
    NO_COLOR: "1",
  }
  const manifest = (kind: string, name: string, frontmatter: string, body: string) => {
    const path = join(home, kind, `${name}.md`)
    writeFileSync(path, `---\n${frontmatter}\n---\n${body}\n`)
    chmodSync(path, 0o600)
  }
  const world: World = {
    home,
    cwd,
    env,
    token,
    api,
    hostAddress,
    authority,
    command: [process.execPath, "--no-env-file", MAIN],
    bottleFile: (name, frontmatter) => manifest("bottles", name, frontmatter, ""),
    agentFile: (name, frontmatter, prompt = "") => manifest("agents", name, frontmatter, prompt),
    bottle: (...args) => run([...world.command, ...args], { cwd, env }),
    ok: async (...args) => {
      const result = await world.bottle(...args)
      if (result.code !== 0)
        throw new Error(`bottle ${args.join(" ")} left with ${result.code}:\n${result.stderr}`)
      return result.stdout.trim()
    },
    docker: async (...args) => {
      const result = await run(["docker", ...args])
      if (result.code !== 0) throw new Error(`docker ${args.join(" ")}: ${lastLines(result.stderr, 5)}`)
      return result.stdout.trim()
    },
    [Symbol.asyncDispose]: async () => {
      await api[Symbol.asyncDispose]()
      await removeObjects(home)
      await run(["docker", "network", "rm", network])
      rmSync(root, { recursive: true, force: true })
    },
  }
  world.bottleFile("dev", claudeRoute(hostAddress))
  world.agentFile("worker", "bottle: dev")
  return world
}

/** A bottle whose only host may have the stand-in's private address. */
export function claudeRoute(hostAddress: string): string {
  return `egress:\n  routes:\n    - host: api.anthropic.com\n      private: ["${hostAddress}/32"]`
}

/**
 * An address of this machine that every container with a network reaches, and that is this world's alone: two worlds
 * at once both have port 443 for themselves. It is the gateway of a bridge on which no container is.
 */
async function ownAddress(network: string): Promise<string> {
  const created = await run(["docker", "network", "create", network])
  if (created.code !== 0) throw new Error(`Docker could not make a network: ${created.stderr}`)
  const format = "{{(index .IPAM.Config 0).Gateway}}"
  const result = await run(["docker", "network", "inspect", network, "--format", format])
  if (result.code !== 0) throw new Error(`Docker lost a network: ${result.stderr}`)
  return result.stdout.trim()
}

function definedEnv(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}

/** What a failed test left in Docker, found by the label of its own home alone. */
async function removeObjects(home: string): Promise<void> {
  const digest = homeDigest(home)
  const filter = ["--filter", `label=${LABEL_HOME}=${digest}`]
  const ids = async (...args: string[]) =>
    (await run(["docker", ...args, ...filter])).stdout.split("\n").filter(Boolean)
  const containers = await ids("ps", "--all", "--quiet")
  if (containers.length > 0) await run(["docker", "rm", "--force", "--volumes", ...containers])
  const volumes = await ids("volume", "ls", "--quiet")
  if (volumes.length > 0) await run(["docker", "volume", "rm", "--force", ...volumes])
  await run(["docker", "network", "rm", networkOf(digest)])
}
