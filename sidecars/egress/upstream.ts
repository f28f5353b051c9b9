/** From a decided request to a connection it may go out on: resolve, check every address, dial one, verify. */
import type { Socket } from "node:net"
import {
  nameNotResolved,
  privateAddress,
  type Subject,
  tooBusy,
  upstreamCertificate,
  upstreamUnreachable,
} from "../../src/policy/denials.ts"
import { hostInUrl } from "../../src/policy/host.ts"
import type { CompiledRoute } from "../../src/policy/route.ts"
import type { UpstreamProxy } from "../../src/policy/schema.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { DialFault, openTcp, openTls } from "./dial.ts"
import { addressAllowed, type Gate } from "./gate.ts"
import { parseResponseHead } from "./http1/head.ts"
import { readHead } from "./http1/read.ts"
import { DIAL_ADDRESSES_MAX, HEAD_MS, PER_HOST_MAX } from "./limits.ts"
import { base64 } from "./outgoing.ts"
import { PoolFull, type Upstream } from "./pool.ts"
import { Refused } from "./refused.ts"
import { resolve } from "./resolve.ts"
import { Wire } from "./wire.ts"

/** Where a connection leads. */
export interface Target {
  scheme: "https" | "http"
  host: string
  port: number
}

/** Name under which connections to a target are pooled. */
export function poolKey(gate: Gate, target: Target): string {
  const proxy = gate.live.policy.upstream_proxy
  const via = proxy === undefined ? "" : ` via ${proxy.host}:${proxy.port} ${proxy.credential ?? ""}`
  return `${target.scheme}://${target.host}:${target.port}${via}`
}

/** A connection from the pool, kept there under `key`, or a new one. Throws Refused. */
export async function acquire(
  gate: Gate,
  key: string,
  target: Target,
  route: CompiledRoute,
  subject: Subject,
  options: { fresh: boolean; forceNew: boolean },
): Promise<Upstream> {
  try {
    return await gate.pool.acquire(
      key,
      // An address that a newer policy no longer opens is not used again, however it was reached.
      { ...options, fits: (idle) => idle.address === "" || addressAllowed(gate, route, idle.address).ok },
      () => dial(gate, target, route, subject),
    )
  } catch (error) {
    throw asRefused(error, target, subject)
  }
}

/** A raw connection, for bytes that are not looked at. Throws Refused. */
export async function openRaw(
  gate: Gate,
  target: Target,
  route: CompiledRoute,
  subject: Subject,
): Promise<{ socket: Socket; address: string }> {
  try {
    const addresses = await checkedAddresses(gate, target, route, subject)
    const proxy = gate.live.policy.upstream_proxy
    if (proxy !== undefined) return { socket: await throughProxy(gate, proxy, target), address: "" }
    return await firstThatAnswers(addresses, target.port)
  } catch (error) {
    throw asRefused(error, target, subject)
  }
}

async function dial(gate: Gate, target: Target, route: CompiledRoute, subject: Subject): Promise<Upstream> {
  const { socket, address } = await openRaw(gate, target, route, subject)
  if (target.scheme === "http") return { wire: new Wire(socket), address, reused: false }
  const tls = await openTls(socket, target.host, gate.keys.trust.context)
  return { wire: new Wire(tls), address, reused: false }
}

/**
 * The addresses of a host, all of which may be dialled: an answer that mixes public and refused addresses is refused
 * as a whole, because it is what a rebinding attack looks like, and which one is dialled must not be left to chance.
 */
async function checkedAddresses(
  gate: Gate,
  target: Target,
  route: CompiledRoute,
  subject: Subject,
): Promise<string[]> {
  const addresses = await resolve(target.host)
  if (addresses.length === 0) {
    throw new Refused(502, nameNotResolved(subject, target.host, "no address"))
  }
  for (const address of addresses) {
    const verdict = addressAllowed(gate, route, address)
    if (!verdict.ok) throw new Refused(403, privateAddress(subject, target.host, verdict.kind))
  }
  return addresses
}

async function firstThatAnswers(
  addresses: readonly string[],
  port: number,
): Promise<{ socket: Socket; address: string }> {
  let last: unknown
  for (const address of addresses.slice(0, DIAL_ADDRESSES_MAX)) {
    try {
      return { socket: await openTcp(address, port), address }
    } catch (error) {
      last = error
    }
  }
  throw last
}

/** A tunnel through the proxy that the host has to leave through. Its own address may be private. */
async function throughProxy(gate: Gate, proxy: UpstreamProxy, target: Target): Promise<Socket> {
  const addresses = await resolve(proxy.host)
  if (addresses.length === 0) throw new DialFault("connect", "the host's proxy could not be resolved")
  const { socket } = await firstThatAnswers(addresses, proxy.port)
  const wire = new Wire(socket)
  wire.endAfter(HEAD_MS)
  const authority = `${hostInUrl(target.host)}:${target.port}`
  let text = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n`
  if (proxy.credential !== undefined) {
    const secret = gate.keys.tokens.get(proxy.credential)
    if (secret === undefined) {
      wire.destroy()
      throw new DialFault("connect", "the credential of the host's proxy is not loaded")
    }
    text += `Proxy-Authorization: Basic ${base64(secret)}\r\n`
  }
  wire.write(`${text}\r\n`)
  try {
    const bytes = await readHead(wire)
    if (bytes === undefined) throw new DialFault("connect", "the host's proxy closed the connection")
    const { status } = parseResponseHead(bytes)
    if (status < 200 || status > 299) throw new DialFault("connect", `the host's proxy answered ${status}`)
    return wire.release()
  } catch (error) {
    wire.destroy()
    throw error
  }
}

function asRefused(error: unknown, target: Target, subject: Subject): Refused {
  if (error instanceof Refused) return error
  if (error instanceof PoolFull)
    return new Refused(503, tooBusy(subject, `${PER_HOST_MAX} connections a host`))
  if (error instanceof DialFault && error.kind === "certificate") {
    return new Refused(502, upstreamCertificate(subject, target.host, error.message))
  }
  return new Refused(502, upstreamUnreachable(subject, target.host, reasonOf(error)))
}
