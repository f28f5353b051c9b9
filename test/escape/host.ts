/** The host as an attacker would like to meet it: it answers on every kind of socket that the tests try. */
import { randomBytes } from "node:crypto"
import { createSocket, type Socket as Datagrams } from "node:dgram"
import { once } from "node:events"
import { type AddressInfo, createServer, isIPv4, type Server } from "node:net"
import { networkInterfaces } from "node:os"
import { run } from "../../src/runtime/spawn.ts"
import { docker } from "./bottle.ts"

/** What the host says to whoever reaches it. */
export const REACHED = "the host answers"
/** Address that the host's resolver gives for every name */
export const RESOLVED = "198.51.100.53"
/** Where clouds serve credentials to whoever asks */
export const METADATA = "169.254.169.254"

export interface OpenHost extends AsyncDisposable {
  /** A bridge on which controls have the network that bottles have not: with IPv6, and the host at its gateways */
  network: string
  /** Addresses of this host on that bridge */
  address: string
  address6: string
  /** Ports that answer on all addresses, TCP and UDP over IPv4, UDP over IPv6 */
  port: number
  port6: number
  /** Name of an abstract unix socket that answers */
  abstract: string
  /** Every address of this host, METADATA included, for which the bridge has been made to stand */
  addresses: string[]
  /** Names of this host's interfaces */
  interfaces: string[]
}

/** Listens with everything. METADATA is put on the bridge, and all of it goes with the scope. */
export async function startOpenHost(): Promise<OpenHost> {
  await using stack = new AsyncDisposableStack()
  const nonce = randomBytes(4).toString("hex")
  const network = `bottle-control-${nonce}`
  const prefix = `fd${nonce.slice(0, 2)}:${nonce.slice(2, 6)}:b0::`
  const bridge = `bt-${nonce}`
  const named = ["--opt", `com.docker.network.bridge.name=${bridge}`]
  const address6 = `${prefix}1`
  await docker(
    "network",
    "create",
    "--ipv6",
    "--subnet",
    `${prefix}/64`,
    "--gateway",
    address6,
    ...named,
    network,
  )
  stack.defer(async () => {
    await run(["docker", "network", "rm", network])
  })
  await ip("address", "add", `${METADATA}/32`, "dev", bridge)

  const gateways = "{{range .IPAM.Config}}{{println .Gateway}}{{end}}"
  const address = (await docker("network", "inspect", network, "--format", gateways))
    .split("\n")
    .find((gateway) => isIPv4(gateway))!

  const tcp = await listening(stack, { host: "0.0.0.0", port: 0 }, (say) => say(REACHED))
  const { port } = tcp.address() as AddressInfo
  await answering(stack, "udp4", "0.0.0.0", port, () => REACHED)
  const udp6 = await answering(stack, "udp6", "::", 0, () => REACHED)
  const abstract = `bottle-test-${nonce}`
  await listening(stack, { path: `\0${abstract}` }, (say) => say(REACHED))

  await answering(stack, "udp4", address, 53, answerOf)
  await listening(stack, { host: address, port: 53 }, (say, question) => {
    const answer = answerOf(question.subarray(2))
    say(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 0xff]), answer]))
  })

  const own = Object.values(networkInterfaces()).flatMap((found) => found ?? [])
  const addresses = own
    .filter(({ family, internal }) => family === "IPv4" && !internal)
    .map((found) => found.address)
  const kept = stack.move()
  return {
    network,
    address,
    address6,
    port,
    port6: udp6.address().port,
    abstract,
    addresses: [address, ...addresses.filter((other) => other !== address)],
    interfaces: Object.keys(networkInterfaces()),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** A DNS answer: the question as it came, and RESOLVED for it. */
function answerOf(question: Buffer): Buffer {
  // Past the header of 12 bytes the question is its name, of which the first empty label is the end, type and class.
  const end = question.indexOf(0, 12) + 5
  const header = Buffer.from(question.subarray(0, 12))
  header.writeUInt16BE(0x8180, 2)
  const wantsA = question.readUInt16BE(end - 4) === 1
  header.writeUInt16BE(wantsA ? 1 : 0, 6)
  header.fill(0, 8)
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...RESOLVED.split(".").map(Number)])
  return Buffer.concat([header, question.subarray(12, end), ...(wantsA ? [record] : [])])
}

async function listening(
  stack: AsyncDisposableStack,
  where: { host: string; port: number } | { path: string },
  answer: (say: (text: string | Buffer) => void, question: Buffer) => void,
): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy())
    // Most attackers wait to be spoken to; the resolver waits for its question.
    if (answer.length < 2) answer((text) => socket.end(text), Buffer.alloc(0))
    else socket.once("data", (question: Buffer) => answer((text) => socket.end(text), question))
  })
  server.listen(where)
  await once(server, "listening")
  stack.defer(async () => {
    server.close()
  })
  return server
}

async function answering(
  stack: AsyncDisposableStack,
  type: "udp4" | "udp6",
  host: string,
  port: number,
  answer: (question: Buffer) => string | Buffer,
): Promise<Datagrams> {
  const socket = createSocket({ type, ipv6Only: type === "udp6" })
  socket.on("message", (message, from) => {
    socket.send(answer(message), from.port, from.address)
  })
  socket.bind(port, host)
  await once(socket, "listening")
  stack.defer(async () => {
    socket.close()
  })
  return socket
}

async function ip(...args: string[]): Promise<void> {
  const result = await run(["ip", ...args])
  if (result.code !== 0) throw new Error(`ip ${args.join(" ")}: ${result.stderr}`)
}
