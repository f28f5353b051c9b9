/**
 * Routes with `intercept: false`: the host is checked, by name before and by address at dialling, the bytes are not.
 * A ClientHello may hide another name (Encrypted Client Hello); the address is the route's all the same.
 */
import { describeRequest } from "../../src/policy/denials.ts"
import { decideHost } from "../../src/policy/route.ts"
import { addressAllowed, type Flight, type Gate, requireLedger } from "./gate.ts"
import { IDLE_MS } from "./limits.ts"
import { Refused } from "./refused.ts"
import type { Tunnel } from "./request.ts"
import { openRaw } from "./upstream.ts"
import { copy } from "./websocket.ts"
import { Wire } from "./wire.ts"

/** Carries a tunnel until it ends. Throws Refused when it cannot begin. */
export async function carryOpaque(gate: Gate, client: Wire, tunnel: Tunnel): Promise<void> {
  const target = { scheme: "https", host: tunnel.host, port: tunnel.port } as const
  const decision = decideHost(gate.live.table, target)
  if (!decision.allow) throw new Refused(403, decision.denial)
  const what = describeRequest("CONNECT", "https", tunnel.host, "")
  const subject = { identity: gate.live.policy.identity, what }
  requireLedger(gate, subject)
  const { socket, address } = await openRaw(gate, target, decision.route, subject)
  const upstream = new Wire(socket)
  const startedAt = performance.now()
  const flight: Flight = {
    allowed: () => {
      const now = decideHost(gate.live.table, target)
      return (
        now.allow && !now.route.intercept && (address === "" || addressAllowed(gate, now.route, address).ok)
      )
    },
    abort: () => {
      client.destroy()
      upstream.destroy()
    },
  }
  gate.flights.add(flight)
  client.idleAfter(IDLE_MS)
  upstream.idleAfter(IDLE_MS)
  gate.journal.repeatable("tunnel", { host: tunnel.host, port: tunnel.port })
  try {
    // The policy may have changed while the connection was being made.
    if (!flight.allowed()) return
    await Promise.all([
      copy(client, upstream, undefined).finally(() => upstream.end()),
      copy(upstream, client, undefined).finally(() => client.end()),
    ])
  } finally {
    client.finish()
    upstream.finish()
    gate.flights.delete(flight)
    gate.journal.ended("tunnel-end", {
      host: tunnel.host,
      up: upstream.bytesOut,
      down: upstream.bytesIn,
      ms: performance.now() - startedAt,
    })
  }
}
