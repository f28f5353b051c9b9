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

test("refusals beyond twice the bound are counted, and told as a number once there is room", async () => {
  using folder = temporaryFolder()
  const fd = openPipe(folder.path)
  try {
    const outbox = new Outbox(fd)
    const line = "x".repeat(900)
    const room = (2 * REPORT_BACKLOG_MAX_BYTES) / 900
    const sent = Math.ceil(room * 1.2)
    for (let i = 0; i < sent; i++) outbox.send(report(line))
    expect(outbox.full).toBe(true)

    const buffer = Buffer.alloc(1024 * 1024)
    let text = ""
    const drained = outbox.flushed().then(() => "drained")
    while ((await Promise.race([drained, new Promise((done) => setImmediate(done, "more"))])) === "more") {
      try {
        text += buffer.toString("latin1", 0, readSync(fd, buffer))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error
      }
    }
    outbox.send(report("last"))
    await outbox.flushed()
    text += buffer.toString("latin1", 0, readSync(fd, buffer))
    const reports = text
      .trim()
      .split("\n")
      .map((each) => JSON.parse(each) as DaemonReport)
    const lost = reports.find((each) => each.type === "event" && each.event.kind === "events-lost")
    const count = lost?.type === "event" ? Number(lost.event.data.count) : 0
    expect(count).toBeGreaterThan(0)
    // With the last one and the one that tells the number.
    expect(reports.length).toBe(sent - count + 2)
  } finally {
    closeSync(fd)
  }
})
