/** The agent looks for a way out through the network. The controls are its own sandbox with one gate taken out. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { createWorld, type World } from "../docker/world.ts"
import { type Bottle, type Outcome, type Sandbox, startBottle, startControl } from "./bottle.ts"
import { METADATA, type OpenHost, REACHED, RESOLVED, startOpenHost } from "./host.ts"

let world: World
let host: OpenHost
let bottle: Bottle
/** The same sandbox on a network */
let networked: Sandbox
/** The same sandbox in the host's own network */
let atHost: Sandbox
/** The same sandbox with Docker's usual capabilities and NET_ADMIN, as root */
let capable: Sandbox
/** The same sandbox as root: capabilities are the gate, not the user */
let rootOnly: Sandbox

beforeAll(async () => {
  world = await createWorld()
  host = await startOpenHost()
  bottle = await startBottle(world)
  ;[networked, atHost, capable, rootOnly] = await Promise.all([
    startControl(
      bottle,
      (agent) => {
        delete agent.network_mode
        agent.networks = ["outside"]
        agent.dns = [host.address]
      },
      { network: host.network },
    ),
    startControl(bottle, (agent) => {
      agent.network_mode = "host"
    }),
    startControl(bottle, (agent) => {
      agent.user = "0:0"
      delete agent.cap_drop
      agent.cap_add = ["NET_ADMIN"]
    }),
    startControl(bottle, (agent) => {
      agent.user = "0:0"
    }),
  ])
}, 600_000)

afterAll(async () => {
  for (const part of [rootOnly, capable, atHost, networked, bottle, host, world]) {
    await part?.[Symbol.asyncDispose]()
  }
}, 120_000)

function attack(sandbox: Sandbox, name: string): Promise<Outcome> {
  return sandbox.attack("network.py", name, {
    name: "exfiltrated-data.example",
    resolvers: ["127.0.0.11", host.address],
    addresses: host.addresses,
    metadata: METADATA,
    addresses6: [host.address6],
    link_local: ["fe80::1", "ff02::1"],
    port: host.port,
    port6: host.port6,
    interfaces: host.interfaces,
    abstract: host.abstract,
  })
}

/** Refusals that the kernel gives at once, because there is no way: nothing was sent. */
const NO_WAY = ["ENETUNREACH", "ENODEV", "EADDRNOTAVAIL"]

/** Every attempt was refused by the kernel itself, so that none is merely unanswered. */
function nothingLeft(outcome: Outcome): void {
  expect(outcome).toEqual({ refused: expect.anything() })
  const refusals = Object.values(outcome.refused as Record<string, string>)
  expect(refusals.length).toBeGreaterThan(0)
  expect(refusals.filter((refusal) => !NO_WAY.includes(refusal))).toEqual([])
}

describe("the agent", () => {
  test("asks resolvers over UDP, and no question leaves", async () => {
    const outcome = await attack(bottle, "dns_over_udp")
    // 127.0.0.11 is where Docker puts a resolver into containers with a network; here it is only loopback.
    expect(outcome).toEqual({ refused: { "127.0.0.11": "no answer", [host.address]: "ENETUNREACH" } })
    expect(await attack(networked, "dns_over_udp")).toEqual({ got: expect.stringContaining("exfiltrated") })
  })

  test("asks resolvers over TCP, and no question leaves", async () => {
    const outcome = await attack(bottle, "dns_over_tcp")
    expect(outcome).toEqual({ refused: { "127.0.0.11": "ECONNREFUSED", [host.address]: "ENETUNREACH" } })
    expect(await attack(networked, "dns_over_tcp")).toEqual({ got: expect.stringContaining("exfiltrated") })
  })

  test("puts data into a name and lets the system resolve it, and the name goes nowhere", async () => {
    expect(await attack(bottle, "getaddrinfo")).toEqual({ refused: "EAI_AGAIN" })
    expect(await attack(networked, "getaddrinfo")).toEqual({ got: RESOLVED })
  })

  test("connects to every address of the host, and none is there", async () => {
    nothingLeft(await attack(bottle, "tcp_to_addresses"))
    expect(await attack(networked, "tcp_to_addresses")).toEqual({ got: `${host.address}: ${REACHED}` })
  })

  test("sends datagrams to every address of the host, and none leaves", async () => {
    nothingLeft(await attack(bottle, "udp_to_addresses"))
    expect(await attack(networked, "udp_to_addresses")).toEqual({ got: `${host.address}: ${REACHED}` })
  })

  test("asks the metadata address for credentials, and it is not there", async () => {
    expect(await attack(bottle, "tcp_to_metadata")).toEqual({ refused: "ENETUNREACH" })
    expect(await attack(networked, "tcp_to_metadata")).toEqual({ got: REACHED })
  })

  test("binds to each device by name to get round the routes, and no device leads out", async () => {
    const { refused } = (await attack(bottle, "udp_bound_to_a_device")) as { refused: Record<string, string> }
    const { lo, ...others } = refused
    // Loopback takes the datagram and has nobody to give it to.
    expect(lo).toBe("no answer")
    nothingLeft({ refused: others })
    expect(await attack(networked, "udp_bound_to_a_device")).toEqual({ got: `eth0: ${REACHED}` })
  })

  test("tries IPv6, and it leads nowhere", async () => {
    nothingLeft(await attack(bottle, "ipv6_to_addresses"))
    expect(await attack(networked, "ipv6_to_addresses")).toEqual({ got: `${host.address6}: ${REACHED}` })
  })

  test("calls its neighbours by IPv6 link-local and multicast, and there are none", async () => {
    nothingLeft(await attack(bottle, "ipv6_link_local_and_multicast"))
    const outcome = await attack(networked, "ipv6_link_local_and_multicast")
    expect(outcome).toEqual({ got: expect.stringContaining(REACHED) })
  })

  test("broadcasts, and nobody hears it", async () => {
    nothingLeft(await attack(bottle, "ipv4_broadcast_and_multicast"))
    const outcome = await attack(networked, "ipv4_broadcast_and_multicast")
    expect(outcome).toEqual({ got: expect.stringContaining(REACHED) })
  })

  test("finds the host's abstract unix sockets out of reach", async () => {
    expect(await attack(bottle, "abstract_unix_socket")).toEqual({ refused: "ECONNREFUSED" })
    expect(await attack(atHost, "abstract_unix_socket")).toEqual({ got: REACHED })
  })

  for (const [name, sentence] of [
    ["raw_socket", "opens a raw socket, and may not"],
    ["packet_socket", "opens a packet socket, and may not"],
    ["add_an_address", "gives itself an address, and may not"],
    ["add_an_interface", "makes itself a network interface, and may not"],
    ["add_a_route", "makes itself a route, and may not"],
  ] as const) {
    test(sentence, async () => {
      expect(await attack(bottle, name)).toEqual({ refused: "EPERM" })
      expect(await attack(rootOnly, name)).toEqual({ refused: "EPERM" })
      expect(await attack(capable, name)).toEqual({ got: expect.any(String) })
    })
  }

  test("opens a socket towards a hypervisor, and may not", async () => {
    expect(await attack(bottle, "vsock_socket")).toEqual({ refused: "EPERM" })
    await using unfiltered = await startControl(bottle, (agent) => {
      agent.security_opt = ["no-new-privileges:true", "seccomp=unconfined"]
    })
    const { refused } = await attack(unfiltered, "vsock_socket")
    // Where the kernel has no such sockets they fail as well, but not by the filter.
    expect([undefined, "EAFNOSUPPORT"]).toContain(refused as string | undefined)
  })
})
