/** The agent uses the one way out that it has, for more than it was given. All requests are curl's, from inside. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import { claudeRoute, createWorld, type World } from "../docker/world.ts"
import { type Origin, type Recorded, startHttpsOrigin } from "../fixtures/tls-origin.ts"
import { type Bottle, type Ran, type Sandbox, startBottle, startControl } from "./bottle.ts"
import { type OpenHost, startOpenHost } from "./host.ts"

let world: World
let host: OpenHost
let origin: Origin
const seen: Pick<Recorded, "url" | "headers">[] = []
/** May ask the API, second.example, and inside.example, which has a private address that is not opened */
let bottle: Bottle
/** May ask all of the hosts, wherever they are */
let open: Bottle
/** The sandbox with a network and without a gateway */
let networked: Sandbox

beforeAll(async () => {
  world = await createWorld()
  host = await startOpenHost()
  const names = ["second.example", "foreign.example", "inside.example"]
  origin = await startHttpsOrigin(
    world.authority,
    names,
    ({ url = "", headers }, response) => {
      seen.push({ url, headers })
      response.end(`the origin answers ${headers.host}`)
    },
    { address: host.address },
  )
  world.env.BOTTLE_EXTRA_HOSTS += names.map((name) => `,${name}=${host.address}`).join("")
  const opened = (name: string) => `    - { host: ${name}, private: ["${host.address}/32"] }`
  const api = claudeRoute(world.hostAddress)
  bottle = await startBottle(
    world,
    [api, opened("second.example"), "    - { host: inside.example }"].join("\n"),
  )
  open = await startBottle(world, [api, ...names.map(opened)].join("\n"))
  networked = await startControl(
    bottle,
    (agent) => {
      delete agent.network_mode
      agent.networks = ["outside"]
      agent.extra_hosts = { ...Object.fromEntries(names.map((name) => [name, host.address])) }
      agent.extra_hosts = { ...(agent.extra_hosts as object), "api.anthropic.com": world.hostAddress }
    },
    { network: host.network },
  )
}, 600_000)

afterAll(async () => {
  for (const part of [networked, open, bottle, origin, host, world]) await part?.[Symbol.asyncDispose]()
}, 120_000)

/** Answer and headers of one request, the tunnel's own headers left out. */
function curl(sandbox: Sandbox, ...args: string[]): Promise<Ran> {
  const common = ["--silent", "--show-error", "--include", "--suppress-connect-headers", "--max-time", "20"]
  return sandbox.run(["curl", ...common, ...args])
}

/** A refusal inside TLS that curl's user can read, and nothing of the request at any origin. */
async function refused(ran: Promise<Ran>, rule: string, words: string): Promise<void> {
  const before = [origin.connections, world.api.requests.length]
  const { code, stdout, stderr } = await ran
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  expect(stdout).toStartWith("HTTP/1.1 403 egress:")
  expect(stdout).toContain(`X-Bottle-Block: egress/${rule}\r\n`)
  const denial = JSON.parse(stdout.split("\r\n\r\n")[1]!) as Record<string, unknown>
  expect(denial).toMatchObject({ by: "egress", rule, why: expect.stringContaining(words) })
  expect([origin.connections, world.api.requests.length]).toEqual(before)
}

async function passed(ran: Promise<Ran>, name: string): Promise<void> {
  const { code, stdout, stderr } = await ran
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  expect(stdout).toContain(`the origin answers ${name}`)
}

const SETTINGS = "https://api.anthropic.com/api/claude_code/settings"
const placeholder = async () => (await bottle.run(["printenv", "CLAUDE_CODE_OAUTH_TOKEN"])).stdout.trim()

describe("the agent", () => {
  test("asks a host that no route names, and reads inside TLS why not", async () => {
    await refused(curl(bottle, "https://foreign.example/"), "host-not-allowed", "foreign.example")
    await passed(curl(open, "https://foreign.example/"), "foreign.example")
  })

  test("asks an allowed server by its address, and names count, not addresses", async () => {
    await refused(curl(bottle, `https://${host.address}/`), "host-not-allowed", host.address)
    await passed(curl(networked, "--insecure", `https://${host.address}/`), host.address)
  })

  test("names another host inside the tunnel of an allowed one, and is refused", async () => {
    const spoof = ["--header", "Host: foreign.example", "https://second.example/"]
    await refused(curl(bottle, ...spoof), "host-mismatch", "second.example")
    await passed(curl(networked, "--insecure", ...spoof), "foreign.example")
    await passed(curl(bottle, "https://second.example/"), "second.example")
  })

  test("connects to another port of an allowed host, and is refused", async () => {
    const other = createServer((socket) => socket.end("the other port answers"))
    other.listen(0, host.address)
    await once(other, "listening")
    const { port } = other.address() as AddressInfo
    await refused(curl(bottle, `https://second.example:${port}/`), "port-not-allowed", String(port))
    const direct = await networked.run(["curl", "--silent", `telnet://second.example:${port}`])
    other.close()
    expect(direct.stdout).toContain("the other port answers")
  })

  test("asks in the clear where https is the rule, and is refused", async () => {
    const ran = await curl(bottle, "http://second.example/")
    expect(ran.stdout).toStartWith("HTTP/1.1 403 egress:")
    expect(ran.stdout).toContain("X-Bottle-Block: egress/scheme-not-allowed\r\n")
  })

  test("brings its own key to the allowed API, and the bottle's stands in its place", async () => {
    const own = `sk-ant-oat01-${randomBytes(24).toString("hex")}`
    const keys = ["--header", `Authorization: Bearer ${own}`, "--header", `X-Api-Key: ${own}`]
    const ran = await curl(bottle, ...keys, SETTINGS)
    expect(ran.stdout).not.toContain(world.token)
    const arrived = world.api.requests.at(-1)!
    expect(arrived.headers.authorization).toBe(`Bearer ${world.token}`)
    expect(JSON.stringify(arrived)).not.toContain(own)

    await curl(networked, "--insecure", ...keys, SETTINGS)
    expect(world.api.requests.at(-1)!.headers.authorization).toBe(`Bearer ${own}`)
  })

  test("sends its placeholder to another allowed host to have it filled in there, and is refused", async () => {
    const bearer = ["--header", `Authorization: Bearer ${await placeholder()}`]
    await refused(curl(bottle, ...bearer, "https://second.example/"), "placeholder-misused", "placeholder")
    await curl(bottle, ...bearer, SETTINGS)
    expect(world.api.requests.at(-1)!.headers.authorization).toBe(`Bearer ${world.token}`)
    // No other host ever saw the credential.
    expect(JSON.stringify(seen)).not.toContain(world.token)
  })

  test("asks for a private address under an allowed name, and is refused unless the route opens it", async () => {
    await refused(curl(bottle, "https://inside.example/"), "private-address", "inside.example")
    await passed(curl(open, "https://inside.example/"), "inside.example")
  })

  test("unsets the proxy and connects by itself, and there is nothing to connect through", async () => {
    const direct = ["--noproxy", "*", "--insecure", "--resolve", `second.example:443:${host.address}`]
    const ran = await curl(bottle, ...direct, "https://second.example/")
    expect(ran).toMatchObject({ code: 7, stdout: "" })
    await passed(curl(networked, ...direct, "https://second.example/"), "second.example")
  })

  test("asks its gateway for the rules, and gets no credential with them", async () => {
    const ran = await curl(bottle, "http://bottle.internal/policy")
    expect(ran.stdout).toContain("second.example")
    expect(ran.stdout).not.toContain(world.token)
  })
})
