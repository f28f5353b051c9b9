/** Others want the gateway of a bottle: another user of the host, another bottle, a neighbour on the network. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { chmodSync, existsSync, readdirSync } from "node:fs"
import { connect } from "node:net"
import { dirname, join } from "node:path"
import { homeDigest, namesOf, networkOf } from "../../src/backend/docker/names.ts"
import { EGRESS_SOCKET, SOCKET_DIR } from "../../src/policy/paths.ts"
import { run, spawnStreaming } from "../../src/runtime/spawn.ts"
import { createWorld, type World } from "../docker/world.ts"
import { type Bottle, docker, startBottle } from "./bottle.ts"

let world: World
let bottle: Bottle
/** The gateway's address on the bridge */
let address: string
let image: string

beforeAll(async () => {
  world = await createWorld()
  bottle = await startBottle(world)
  address = await addressOf(bottle.gateway)
  image = (await docker("inspect", "--format", "{{.Config.Image}}", bottle.container)).trim()
}, 600_000)

afterAll(async () => {
  await bottle?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
}, 120_000)

async function addressOf(container: string): Promise<string> {
  const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
  return (await docker("inspect", "--format", format, container)).trim()
}

/** How long a connection that nobody answers is waited for, in milliseconds. */
const SILENCE_MS = 2000

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: SILENCE_MS })
    const settle = (answered: boolean) => {
      socket.destroy()
      resolve(answered)
    }
    socket.once("connect", () => settle(true))
    socket.once("timeout", () => settle(false))
    socket.once("error", () => settle(false))
  })
}

/** Tries every TCP port there is; answers with those that are open. */
async function scan(host: string): Promise<number[]> {
  const open: number[] = []
  let next = 1
  const worker = async () => {
    while (next <= 65_535) {
      const port = next++
      if (await answers(host, port)) open.push(port)
    }
  }
  await Promise.all(Array.from({ length: 256 }, worker))
  return open
}

/** Sockets in the network of a container that something listens on, but those on its loopback: `udp 0.0.0.0:53`. */
async function listeners(container: string): Promise<string[]> {
  const found: string[] = []
  for (const table of ["tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "packet"]) {
    const text = await docker("exec", container, "cat", `/proc/net/${table}`).catch(() => "")
    for (const line of text.trim().split("\n").slice(1)) {
      const [, local = "", remote = "", state = ""] = line.trim().split(/\s+/)
      if (table === "packet") found.push("packet")
      // State 0A is a TCP socket that listens; a connected UDP socket takes datagrams of its peer alone.
      else if (table.startsWith("tcp") ? state !== "0A" : !/^0+:0000$/.test(remote)) continue
      // Docker's resolver for the gateway itself, in 127.0.0.0/8, which no packet from outside may have.
      else if (!/^[0-9A-F]{6}7F:/.test(local)) found.push(`${table} ${local}`)
    }
  }
  return found
}

/** Runs a Python program in the network of a container; resolves once it has said that it is ready. */
async function beside(container: string, program: string) {
  const network = `--network=container:${container}`
  const child = spawnStreaming([
    ...["docker", "run", "--rm", "--interactive", "--init", network, "--entrypoint=python3", image],
    ...["-u", "-c", `${program}\nprint("ready")\nimport sys; sys.stdin.read()`],
  ])
  const ready = Promise.withResolvers<void>()
  child.stdout.once("data", () => ready.resolve())
  child.exited.then((code) => ready.reject(new Error(`it ended with ${code}`)), ready.reject)
  await ready.promise
  return {
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await child.exited
    },
  }
}

const LISTENING = [
  "import socket",
  "tcp = socket.socket(); tcp.bind(('0.0.0.0', 4433)); tcp.listen(64)",
  "udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('0.0.0.0', 5353))",
].join("\n")

describe("the network", () => {
  test("scans every port of a gateway, and none is open", async () => {
    expect(address).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
    expect(await scan(address)).toEqual([])
    await using _ = await beside(bottle.gateway, LISTENING)
    expect(await scan(address)).toEqual([4433])
  })

  test("finds no listener in a gateway, of any protocol and version, and no port of the host that leads there", async () => {
    expect(await listeners(bottle.gateway)).toEqual([])
    expect((await docker("port", bottle.gateway)).trim()).toBe("")
    await using _ = await beside(bottle.gateway, LISTENING)
    expect(await listeners(bottle.gateway)).toEqual(["tcp 00000000:1151", "udp 00000000:14E9"])
  })
})

async function connects(from: string, to: string, port: number): Promise<boolean> {
  const program = `import socket; socket.create_connection(("${to}", ${port}), 2)`
  const network = `--network=container:${from}`
  const argv = ["docker", "run", "--rm", network, "--entrypoint=python3", image, "-c", program]
  const ran = await run(argv)
  if (ran.code !== 0 && !/TimeoutError|timed out|ConnectionRefused|unreachable/.test(ran.stderr))
    throw new Error(ran.stderr)
  return ran.code === 0
}

describe("another bottle's gateway, taken over,", () => {
  test("connects to the first one, and its packets are dropped", async () => {
    await using other = await startBottle(world)
    const network = networkOf(homeDigest(world.home))
    const attached = await docker("network", "inspect", network, "--format", "{{json .Containers}}")
    // Both are on one bridge, so that only the rule between them is tried.
    expect(attached).toContain(bottle.gateway)
    expect(attached).toContain(other.gateway)
    // Something is there that would answer.
    await using _ = await beside(bottle.gateway, LISTENING)
    expect(await answers(address, 4433)).toBe(true)
    expect(await connects(other.gateway, address, 4433)).toBe(false)

    // The same two sandboxes side by side, on a bridge that lets neighbours talk.
    const talkative = `bottle-talkative-${randomBytes(4).toString("hex")}`
    await docker("network", "create", talkative)
    await using __ = {
      async [Symbol.asyncDispose]() {
        for (const name of [bottle.gateway, other.gateway])
          await run(["docker", "network", "disconnect", "--force", talkative, name])
        await docker("network", "rm", talkative)
      },
    }
    for (const name of [bottle.gateway, other.gateway]) await docker("network", "connect", talkative, name)
    const format = `{{(index .NetworkSettings.Networks "${talkative}").IPAddress}}`
    const neighbour = (await docker("inspect", "--format", format, bottle.gateway)).trim()
    expect(await connects(other.gateway, neighbour, 4433)).toBe(true)
  })
})

/** An ordinary user of this machine, made for a test. */
async function ordinaryUser() {
  const name = `bt${randomBytes(4).toString("hex")}`
  const made = await run(["useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", name])
  if (made.code !== 0) throw new Error(`useradd: ${made.stderr}`)
  return {
    run: (...argv: string[]) =>
      run(["setpriv", `--reuid=${name}`, `--regid=${name}`, "--init-groups", ...argv], { cwd: "/" }),
    [Symbol.asyncDispose]: async () => void (await run(["userdel", name])),
  }
}

/** What a client says to a proxy to read the live rules. */
const RULES = ["--request-target", "http://bottle.internal/policy", "http://bottle.internal/"]

describe("another user of the host", () => {
  test("reaches for the sockets in Docker's folder, and may not enter", async () => {
    const { sock } = namesOf(bottle.identity).volumes
    const mountpoint = (await docker("volume", "inspect", "--format", "{{.Mountpoint}}", sock)).trim()
    const socket = join(mountpoint, EGRESS_SOCKET.slice(SOCKET_DIR.length))
    const ask = ["curl", "--silent", "--show-error", "--max-time", "5", "--unix-socket", socket, ...RULES]
    await using user = await ordinaryUser()
    expect(await user.run("ls", mountpoint)).toMatchObject({ code: 2, stdout: "" })
    expect(await user.run(...ask)).toMatchObject({ code: 7, stdout: "" })
    // Root is whom the folder keeps nobody from, and curl finds the gateway there.
    const asRoot = await run(ask)
    expect(asRoot).toMatchObject({ code: 0 })
    expect(asRoot.stdout).toContain("api.anthropic.com")
  })

  test("reaches for the sockets through the gateway's processes, and may not", async () => {
    const pid = (await docker("inspect", "--format", "{{.State.Pid}}", bottle.gateway)).trim()
    const socket = `/proc/${pid}/root${EGRESS_SOCKET}`
    const ask = ["curl", "--silent", "--max-time", "5", "--unix-socket", socket, ...RULES]
    await using user = await ordinaryUser()
    for (const path of ["environ", "root/", "fd/", "maps"])
      expect((await user.run("ls", "-l", `/proc/${pid}/${path}`)).stdout).not.toMatch(/bottle|sock/)
    expect(await user.run("cat", `/proc/${pid}/environ`)).toMatchObject({ code: 1, stdout: "" })
    expect(await user.run(...ask)).toMatchObject({ code: 7, stdout: "" })
    expect(await run(ask)).toMatchObject({ code: 0 })
  })

  test("reads the state of bottles, keys included, and may not", async () => {
    const state = join(world.home, "state")
    // The way there is open, so that only what bottle itself made stands in it.
    for (const folder of [dirname(world.home), world.home]) chmodSync(folder, 0o755)
    const secrets = filesBelow(join(state, bottle.identity))
    const key = secrets.find((path) => /key/.test(path))
    expect(key).toBeDefined()
    await using user = await ordinaryUser()
    expect((await user.run("ls", state)).code).toBe(2)
    for (const path of secrets) expect(await user.run("cat", path)).toMatchObject({ code: 1, stdout: "" })

    const folders = [state, join(state, bottle.identity), dirname(key!)]
    for (const folder of folders) chmodSync(folder, 0o755)
    // Even with every folder open, the key is its owner's alone.
    expect(await user.run("cat", key!)).toMatchObject({ code: 1, stdout: "" })
    chmodSync(key!, 0o644)
    expect((await user.run("cat", key!)).stdout).toContain("PRIVATE KEY")
    for (const folder of folders) chmodSync(folder, 0o700)
    chmodSync(key!, 0o600)
  })

  test("asks Docker, and may not", async () => {
    await using user = await ordinaryUser()
    expect((await user.run("docker", "ps")).code).not.toBe(0)
    expect((await run(["docker", "ps"])).code).toBe(0)
  })
})

function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesBelow(join(folder, entry.name)) : [join(folder, entry.name)],
  )
}
