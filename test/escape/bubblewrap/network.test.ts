/** The agent tries every kind of socket and every address of the host. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { type AddressInfo, createServer, type Server } from "node:net"
import { networkInterfaces } from "node:os"
import {
  asHostRoot,
  type Bottle,
  type Control,
  control,
  forEachCaller,
  type Outcome,
  outside,
  startBottle,
  without,
  withoutSeccomp,
} from "./bottle.ts"

/** What the host says to whoever reaches it */
const REACHED = "the host answers"
/** An address of the host's loopback that nothing else listens on, for a resolver */
const RESOLVER = "127.0.0.53"
interface OpenHost extends AsyncDisposable {
  arg: Record<string, unknown>
}

/** Listens with TCP, UDP and unix sockets, on all addresses of both versions. */
async function startOpenHost(): Promise<OpenHost> {
  await using stack = new AsyncDisposableStack()
  const listening = async (where: { host: string; port: number } | { path: string }): Promise<Server> => {
    const server = createServer((socket) => {
      socket.on("error", () => {})
      socket.end(REACHED)
    })
    stack.defer(() => void server.close())
    server.listen(where)
    await once(server, "listening")
    return server
  }
  const answering = async (type: "udp4" | "udp6", host: string, port: number): Promise<void> => {
    const socket = createSocket({ type, ipv6Only: type === "udp6" })
    stack.defer(() => void socket.close())
    socket.on("message", (_, from) => socket.send(REACHED, from.port, from.address))
    socket.bind(port, host)
    await once(socket, "listening")
  }
  const { port } = (await listening({ host: "0.0.0.0", port: 0 })).address() as AddressInfo
  await answering("udp4", "0.0.0.0", port)
  await answering("udp6", "::", port)
  await answering("udp4", RESOLVER, 53)
  const abstract = `bottle-test-${randomBytes(4).toString("hex")}`
  await listening({ path: `\0${abstract}` })
  const own = Object.values(networkInterfaces()).flatMap((found) => found ?? [])
  const outer = own.filter(({ family, internal }) => family === "IPv4" && !internal)
  const kept = stack.move()
  return {
    arg: {
      addresses: ["127.0.0.1", ...outer.map(({ address }) => address)],
      addresses6: ["::1"],
      ...{ port, port6: port, abstract, resolvers: [RESOLVER], name: "example.com", interfaces: [] },
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

let host: OpenHost
/** On the host's network, and nothing else is different */
let connected: Control

beforeAll(async () => {
  host = await startOpenHost()
  connected = control([without("--unshare-net")])
})
afterAll(async () => {
  connected?.[Symbol.dispose]()
  await host?.[Symbol.asyncDispose]()
})

/** A datagram to an own loopback on which nobody listens is not answered. */
const REFUSALS = ["no answer", "ENETUNREACH", "ECONNREFUSED", "EADDRNOTAVAIL", "ENODEV", "EACCES", "EPERM"]

function codes({ refused }: Outcome): unknown[] {
  return typeof refused === "object" ? Object.values(refused as object) : [refused]
}

forEachCaller((caller) => {
  let bottle: Bottle

  beforeAll(async () => {
    bottle = await startBottle(caller().world)
  })
  afterAll(() => bottle?.[Symbol.asyncDispose]())

  const network = (name: string) => bottle.attack("network.py", name, host.arg)
  const families = (name: string, arg: unknown) => bottle.attack("families.py", name, arg)

  describe("the agent", () => {
    for (const [name, sentence] of [
      ["tcp_to_addresses", "connects to the host's loopback and to its other addresses by TCP"],
      ["udp_to_addresses", "sends to the host's loopback and to its other addresses by UDP"],
      ["ipv6_to_addresses", "tries the host's loopback by IPv6"],
      ["dns_over_udp", "asks the host's resolver"],
      ["abstract_unix_socket", "connects to an abstract unix socket of the host"],
    ] as const) {
      test(`${sentence}, and there is no way`, async () => {
        const outcome = await network(name)
        expect(outcome).not.toHaveProperty("got")
        expect(codes(outcome).filter((code) => !REFUSALS.includes(code as string))).toEqual([])
        expect(await connected.attack("network.py", name, host.arg)).toEqual({
          got: expect.stringContaining(REACHED),
        })
      })
    }

    test("looks at its interfaces, and has loopback alone", async () => {
      const list = ["python3", "-c", "import os; print(open('/proc/net/dev').read().count(':'))"]
      expect((await bottle.run(list)).stdout).toBe("1\n")
      expect(Number((await connected.run(list)).stdout)).toBeGreaterThan(1)
    })

    for (const family of ["netlink", "packet", "vsock", "alg"]) {
      test(`opens a socket of the family ${family}, and the filter knows none`, async () => {
        expect(await families("by_socket", { family })).toEqual({ refused: "EAFNOSUPPORT" })
        using open = asHostRoot()
        // Not every kernel has every family; without the filter it is the kernel that answers, as it does outside.
        expect(await open.attack("families.py", "by_socket", { family })).toEqual(
          await ofTheKernel("by_socket", family),
        )
      })

      test(`opens a socket of the family ${family} by io_uring, and has no ring`, async () => {
        expect(await families("by_io_uring", { family })).toEqual({ refused: "EPERM" })
        using open = asHostRoot()
        expect(await open.attack("families.py", "by_io_uring", { family })).toEqual(
          await ofTheKernel("by_io_uring", family),
        )
      })
    }

    test("opens a raw socket, and may not", async () => {
      expect(await network("raw_socket")).toEqual({ refused: "EPERM" })
      using open = asHostRoot()
      expect(await open.attack("network.py", "raw_socket", host.arg)).toEqual({ got: "opened" })
    })

    for (const [name, sentence] of [
      ["add_an_address", "gives itself an address"],
      ["add_an_interface", "makes itself a network interface"],
      ["add_a_route", "makes itself a route"],
    ] as const) {
      test(`${sentence}, and may not`, async () => {
        expect(await network(name)).toEqual({ refused: "EAFNOSUPPORT" })
        // Without the filter it is for want of capabilities that it may not.
        using unfiltered = control([withoutSeccomp])
        expect(await unfiltered.attack("network.py", name, host.arg)).toEqual({ refused: "EPERM" })
        using open = asHostRoot()
        expect(await open.attack("network.py", name, host.arg)).toHaveProperty("got")
      })
    }

    test("opens a netlink socket by the calls of i386, and is ended for it", async () => {
      if (process.arch === "x64") {
        expect(await families("by_the_calls_of_i386", {})).toEqual({ refused: "Ended: SIGSYS" })
        using open = control([withoutSeccomp])
        expect(await open.attack("families.py", "by_the_calls_of_i386")).toEqual({ got: "opened" })
      } else {
        // No such machine: the filter's other arm, the call of another architecture, is shown by its own tests.
        expect(process.arch).toBe("arm64")
      }
    })

    test("opens a netlink socket by the calls of x32, which the filter does not know, nor most kernels", async () => {
      expect(await families("by_the_calls_of_x32", {})).toEqual({ refused: "ENOSYS" })
      using open = control([withoutSeccomp])
      // With x32 in the kernel it is opened; without, nothing shows that the filter was there first.
      expect(await open.attack("families.py", "by_the_calls_of_x32")).toEqual(
        (await x32IsBuiltIn()) ? { got: "opened" } : { refused: "ENOSYS" },
      )
    })
  })
})

/** What root gets of the kernel itself. */
async function ofTheKernel(name: string, family: string): Promise<Outcome> {
  return await outside().attack("families.py", name, { family })
}

async function x32IsBuiltIn(): Promise<boolean> {
  return "got" in (await outside().attack("families.py", "by_the_calls_of_x32"))
}
