/** CONNECT: whose name the tunnel has, whether its bytes are looked at, and the TLS of those that are. */
import { type SecureContext, TLSSocket } from "node:tls"
import { showable } from "../../src/policy/denial.ts"
import { badRequest, describeRequest, type Subject, sniMismatch } from "../../src/policy/denials.ts"
import { canonicalHost, isIpLiteral, splitAuthority } from "../../src/policy/host.ts"
import { findRoute } from "../../src/policy/route.ts"
import { type Connect, type OpenTunnel, serve } from "./connection.ts"
import type { Flight, Gate } from "./gate.ts"
import { readHello } from "./hello.ts"
import type { RequestHead } from "./http1/head.ts"
import { nextPiece } from "./http1/read.ts"
import { HANDSHAKE_MS, HEAD_PIECES_MAX } from "./limits.ts"
import { carryOpaque } from "./opaque.ts"
import { Refused } from "./refused.ts"
import type { Tunnel } from "./request.ts"
import { Wire } from "./wire.ts"

/**
 * What a CONNECT leads to. The tunnel is opened whatever its host: a refusal is only readable inside of it, because
 * clients show nothing of a refused CONNECT. Throws Refused and HttpFault while it is not open yet.
 */
export function connector(gate: Gate): Connect {
  return async (client, head) => {
    const tunnel = tunnelOf(gate, head)
    client.endAfter(HANDSHAKE_MS)
    client.write("HTTP/1.1 200 Connection Established\r\n\r\n")
    const name = await clientName(gate, client, tunnel)
    if (name === undefined) return client.finish()
    const host = name === "" ? "" : (canonicalHost(name) ?? "")
    const subject = {
      identity: gate.live.policy.identity,
      what: describeRequest("CONNECT", "https", tunnel.host, ""),
    }
    if (host === tunnel.host || (name === "" && isIpLiteral(tunnel.host))) {
      await carry(gate, client, tunnel)
    } else {
      // The client checks the certificate for the name it sent: with that one it gets to read why.
      const refused = new Refused(403, sniMismatch(subject, tunnel.host, name))
      await intercept(gate, client, { ...tunnel, refused }, host === "" ? tunnel.host : host)
    }
  }
}

function tunnelOf(gate: Gate, head: RequestHead): Tunnel {
  const subject: Subject = {
    identity: gate.live.policy.identity,
    what: `CONNECT ${showable(head.target, 100)}`,
  }
  const target = splitAuthority(head.target)
  if (target?.port === undefined) {
    throw new Refused(400, badRequest(subject, "the CONNECT target is not host:port"))
  }
  // The target alone counts. RFC 9112 3.2.3 wants the same Host, but node's own http.request names the proxy in it; it
  // leads nowhere, because the Host of every request inside is compared with the target.
  return { host: target.host, port: target.port }
}

/** Name in the ClientHello, empty when it has none; undefined when what comes is not TLS. Nothing is consumed. */
async function clientName(gate: Gate, client: Wire, tunnel: Tunnel): Promise<string | undefined> {
  let bytes: Buffer = Buffer.alloc(0)
  for (let pieces = 0; pieces < HEAD_PIECES_MAX; pieces++) {
    const piece = await nextPiece(client)
    if (piece === undefined) return undefined
    bytes = bytes.length === 0 ? piece : Buffer.concat([bytes, piece])
    const hello = readHello(bytes)
    if (hello.kind === "hello") {
      client.unread(bytes)
      return hello.name
    }
    if (hello.kind === "bad") {
      // Nothing readable can be answered to something that is not TLS: the ledger has the reason.
      const reason = `the tunnel ${hello.reason}`
      gate.journal.repeatable("tunnel-refused", { host: tunnel.host, port: tunnel.port, reason })
      return undefined
    }
  }
  return undefined
}

async function carry(gate: Gate, client: Wire, tunnel: Tunnel): Promise<void> {
  const route = findRoute(gate.live.table, tunnel.host)
  if (route === undefined || route.intercept) return intercept(gate, client, tunnel, tunnel.host)
  try {
    await carryOpaque(gate, client, tunnel)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    await intercept(gate, client, { ...tunnel, refused: error }, tunnel.host)
  }
}

/** Terminates the tunnel's TLS with a leaf for `name` and serves what is inside. */
async function intercept(gate: Gate, client: Wire, tunnel: OpenTunnel, name: string): Promise<void> {
  const context = gate.keys.authority.contextFor(name)
  if (client.peerGone) return client.destroy()
  const inside = await acceptTls(gate, client, tunnel, context)
  if (inside === undefined) return
  const hadRoute = findRoute(gate.live.table, tunnel.host)?.intercept === true
  const flight: Flight = {
    // A tunnel that only ever gets refusals may stay: it leads nowhere.
    allowed: () => !hadRoute || findRoute(gate.live.table, tunnel.host)?.intercept === true,
    abort: () => inside.destroy(),
  }
  gate.flights.add(flight)
  try {
    await serve(gate, inside, tunnel, connector(gate))
  } finally {
    gate.flights.delete(flight)
  }
}

function acceptTls(
  gate: Gate,
  client: Wire,
  tunnel: Tunnel,
  secureContext: SecureContext,
): Promise<Wire | undefined> {
  return new Promise((resolve) => {
    const socket = client.release()
    const tls = new TLSSocket(socket, {
      isServer: true,
      secureContext,
      // HTTP/1.1 alone: offered h2, most clients would take it.
      ALPNProtocols: ["http/1.1"],
    })
    const inside = new Wire(tls)
    inside.endAfter(HANDSHAKE_MS)
    let reason = "the client closed the connection during the TLS handshake"
    const onError = (error: Error) => {
      reason = error.message
    }
    const onClose = () => {
      // What a client says that does not trust the bottle's authority: worth knowing when something does not work.
      gate.journal.repeatable("tls-failed", { host: tunnel.host, reason: showable(reason, 200) })
      resolve(undefined)
    }
    tls.once("error", onError)
    tls.once("close", onClose)
    tls.once("secure", () => {
      tls.off("error", onError)
      tls.off("close", onClose)
      resolve(inside)
    })
  })
}
