import { expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { closeSync, constants, openSync, readSync } from "node:fs"
import { Socket } from "node:net"
import { join } from "node:path"
import { admit } from "../../sidecars/egress/admit.ts"
import type { Gate } from "../../sidecars/egress/gate.ts"
import { checkHead } from "../../sidecars/egress/http1/check.ts"
import { parseRequestHead } from "../../sidecars/egress/http1/head.ts"
import { Journal } from "../../sidecars/egress/journal.ts"
import { REPORT_BACKLOG_MAX_BYTES } from "../../sidecars/egress/limits.ts"
import { compileLive, takeKeys } from "../../sidecars/egress/live.ts"
import { carryOpaque } from "../../sidecars/egress/opaque.ts"
import { Outbox } from "../../sidecars/egress/outbox.ts"
import { Pool } from "../../sidecars/egress/pool.ts"
import { Refused } from "../../sidecars/egress/refused.ts"
import { Wire } from "../../sidecars/egress/wire.ts"
import { mintAuthority } from "../../src/gateway/ca.ts"
import type { DaemonReport, EgressLoad } from "../../src/policy/wire/daemon.ts"
import { route } from "../fixtures/egress.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const report = (text: string): DaemonReport => ({
  type: "event",
  event: { by: "egress", kind: "allow", data: { path: text } },
})

/** A pipe that nobody reads until the test does. */
function openPipe(folder: string): number {
  const path = join(folder, "pipe")
  expect(spawnSync("mkfifo", [path]).status).toBe(0)
  return openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
}

test("reports that nobody takes are held up to a bound, traffic is refused beyond it, and none is lost", async () => {
  using folder = temporaryFolder()
  const fd = openPipe(folder.path)
  try {
    const outbox = new Outbox(fd)
    const authority = await mintAuthority("test-00000")
    const load: EgressLoad = {
      type: "load",
      ca: { cert: authority.cert, key: authority.key },
      extra_ca: "",
      tokens: {},
      policy: {
        version: 1,
        generation: 1,
        identity: "test-00000",
        routes: [route("api.example.test"), route("opaque.example.test", { intercept: false })],
        placeholders: [],
        host_addresses: [],
      },
    }
    const gate: Gate = {
      keys: takeKeys(load),
      live: compileLive(load.policy),
      pool: new Pool(),
      journal: new Journal((event) => outbox.send({ type: "event", event })),
      outbox,
      flights: new Set(),
    }
    const head = parseRequestHead(Buffer.from("GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n"))
    const tunnel = { host: "api.example.test", port: 443 }
    const attempt = () => admit(gate, head, checkHead(head, "tunnel"), tunnel)

    expect(attempt()).toMatchObject({ forward: "/" })
    const text = "x".repeat(1000)
    let sent = 0
    while (!outbox.full) {
      outbox.send(report(text))
      sent++
    }
    expect(sent).toBeGreaterThan(REPORT_BACKLOG_MAX_BYTES / 1200)
    expect(attempt).toThrow(Refused)
    const wire = new Wire(new Socket())
    const carried = carryOpaque(gate, wire, { host: "opaque.example.test", port: 443 })
    wire.destroy()
    expect(await carried.catch((error) => error.denial?.rule)).toBe("too-busy")

    let lines = 0
    const buffer = Buffer.alloc(256 * 1024)
    while (lines < sent) {
      try {
        const size = readSync(fd, new Uint8Array(buffer.buffer))
        lines += buffer.subarray(0, size).filter((byte) => byte === 10).length
      } catch (error) {
        // Empty for now: the outbox writes on a later turn.
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    expect(lines).toBe(sent)
    await outbox.flushed()
    expect(Boolean(outbox.full)).toBe(false)
    expect(attempt()).toMatchObject({ forward: "/" })
  } finally {
    closeSync(fd)
  }
})

test("a pipe that is broken counts as full: nothing passes that cannot be told", async () => {
  using folder = temporaryFolder()
  const fd = openPipe(folder.path)
  closeSync(fd)
  const outbox = new Outbox(fd)
  expect(outbox.full).toBe(false)
  outbox.send(report("x"))
  await outbox.flushed()
  while (!outbox.full) await new Promise((resolve) => setImmediate(resolve))
  expect(outbox.full).toBe(true)
})
