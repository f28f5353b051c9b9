/** init as the gateway's ruler: what is in force, who is believed, and that every way out ends in refusing. */
import { describe, expect, test } from "bun:test"
import { once } from "node:events"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { createConnection } from "node:net"
import { dirname, join } from "node:path"
import type { ControlClient } from "../../src/gateway/control-client.ts"
import { type LedgerEntry, ledgerEntry } from "../../src/policy/ledger.ts"
import type { Launch } from "../../src/policy/wire/lifeline.ts"
import { readLines } from "../../src/runtime/lines.ts"
import { run } from "../../src/runtime/spawn.ts"
import { type InitGateway, startInitGateway } from "../fixtures/init-gateway.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const LAUNCH: Launch = { argv: ["agent"], env: {}, cwd: "/", setup: [], streams: "inherit" as const }
const UNCHANGED = { verdict: "unchanged", detail: "" } as const

/** Follows the ledger until an entry fits. */
async function entry(init: InitGateway, fits: (entry: LedgerEntry) => boolean): Promise<LedgerEntry> {
  await using client = await init.control()
  for await (const one of client.ledger(0, true)) if (fits(one)) return one
  throw new Error(`the ledger ended:\n${init.log.join("\n")}`)
}

async function kinds(init: InitGateway): Promise<string[]> {
  await using client = await init.control()
  const found: string[] = []
  for await (const one of client.ledger(0, false)) found.push(one.kind)
  return found
}

async function statusOf(init: InitGateway) {
  await using client: ControlClient = await init.control()
  return (await client.status()).status
}

/** Sends lines to the control socket as they are; answers with the first one that comes back, if any. */
async function rawControl(init: InitGateway, text: string): Promise<string | undefined> {
  const socket = createConnection({ path: init.controlSocket })
  await once(socket, "connect")
  socket.on("error", () => {})
  socket.write(text)
  try {
    for await (const line of readLines(socket, 1024 * 1024)) return line
  } catch {
    // It closed on us while we wrote.
  } finally {
    socket.destroy()
  }
  return undefined
}

/** A daemon that takes every policy, in shell: what init believes of one that was taken over. */
const TAKES_ALL = `
say() { echo "{\\"type\\":\\"live\\",\\"generation\\":$1}"; }
while read -r line; do
  generation=$(sed -n 's/.*"generation":\\([0-9]*\\).*/\\1/p' <<<"$line")
  before; say "$generation"
done`

describe("what is in force", () => {
  test("of two changes at once that follow the same generation one is refused", async () => {
    await using init = await startInitGateway()
    await init.load()
    await using one = await init.control()
    await using two = await init.control()
    const route = (host: string) => ({
      host,
      intercept: true,
      scheme: "https" as const,
      private: [],
      origin: "edit",
    })
    const results = await Promise.allSettled([
      one.policy(init.policy(2, [route("one.example.com")])),
      two.policy(init.policy(2, [route("two.example.com")])),
    ])
    expect(results.map((result) => result.status).sort()).toEqual(["fulfilled", "rejected"])
    const status = await statusOf(init)
    expect(status.generation).toBe(2)
    expect(status.policy?.routes.map(({ host }) => host)).toEqual([
      results[0]?.status === "fulfilled" ? "one.example.com" : "two.example.com",
    ])
  })

  test("a daemon that was killed comes back with the policy that was live", async () => {
    await using init = await startInitGateway()
    await init.load()
    await using client = await init.control()
    await client.policy(init.policy(2))
    const pid = Number((await Bun.$`pgrep -f ${init.egressSocket}`.text()).trim().split("\n")[0])
    process.kill(pid, "SIGKILL")
    await entry(init, (one) => one.kind === "daemon-died")
    // It is live again: a change is taken, on top of what was in force.
    for (;;) {
      const [daemon] = (await statusOf(init)).daemons
      if (daemon?.state === "live" && daemon.restarts === 1) break
    }
    expect((await client.policy(init.policy(3))).generation).toBe(3)
  })

  test("a change under which the daemon dies is not in force, and the next one is", async () => {
    const daemon = `folder=$1
      before() { if [ "$generation" = 2 ] && [ ! -e "$folder/died" ]; then touch "$folder/died"; exit 9; fi; }
      ${TAKES_ALL}`
    await using init = await startInitGateway({ daemon })
    await init.load()
    await using client = await init.control()
    expect(client.policy(init.policy(2))).rejects.toMatchObject({ why: expect.stringContaining("it ended") })
    await entry(init, (one) => one.kind === "daemon-died")
    expect((await statusOf(init)).generation).toBe(1)
    for (;;) if ((await statusOf(init)).daemons[0]?.state === "live") break
    expect((await client.policy(init.policy(2))).generation).toBe(2)
  })

  test("a load that fails leaves what was live before for the next process", async () => {
    await using init = await startInitGateway()
    await init.load()
    await using client = await init.control()
    const broken = client.load({
      ca: { cert: "none", key: "none" },
      extra_ca: "",
      tokens: {},
      policy: init.policy(2),
    })
    expect(broken).rejects.toThrow()
    await broken.catch(() => {})
    expect(await statusOf(init)).toMatchObject({ generation: 1 })
    expect((await client.policy(init.policy(2))).generation).toBe(2)
  })
})

describe("a daemon that was taken over", () => {
  const acts: [string, string][] = [
    ["says what is no JSON", "echo owned"],
    ["reports an event whose names hold terminal sequences", eventLine({ "\u001b]0;owned\u0007": 1 })],
    ["reports under the name of another", `echo '{"type":"live","generation":1,"by":"init"}'`],
  ]
  for (const [what, act] of acts) {
    test(`and ${what} is ended and starts anew`, async () => {
      const daemon = `before() { :; }; if [ ! -e "$1/acted" ]; then touch "$1/acted"; ${act}; fi\n${TAKES_ALL}`
      await using init = await startInitGateway({ daemon })
      const died = await entry(init, (one) => one.kind === "daemon-died")
      expect(died.data.how).toBe("by SIGKILL")
      expect(init.log.join("\n")).toContain("broke the protocol")
      expect(init.log.join("\n")).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
      await init.load()
      expect((await statusOf(init)).generation).toBe(1)
    })
  }

  test("and reports in init's name is written down under its own", async () => {
    const daemon = `before() { :; }; ${eventLine({ note: "x" }, "init")}\n${TAKES_ALL}`
    await using init = await startInitGateway({ daemon })
    expect((await entry(init, (one) => one.kind === "forged")).by).toBe("egress")
  })

  test("and leaves a child that holds its pipes neither stops its restart nor init's end", async () => {
    const daemon = `before() { :; }
      if [ ! -e "$1/left" ]; then sleep 600 & echo $! >"$1/left"; exit 5; fi\n${TAKES_ALL}`
    const init = await startInitGateway({ daemon })
    await using _ = {
      [Symbol.asyncDispose]: async () => void process.kill(Number(readFileSync(left, "utf8")), "SIGKILL"),
    }
    const left = join(init.folder, "left")
    await entry(init, (one) => one.kind === "daemon-died")
    await init.load()
    const pid = readFileSync(left, "utf8")
    await init.gateway.end("over")
    expect(await init.gateway.ended).toBe(5)
    writeFileSync(left, pid)
  })
})

function eventLine(data: Record<string, unknown>, by = "egress"): string {
  return `echo '${JSON.stringify({ type: "event", event: { by, kind: "forged", data } })}'`
}

describe("the lifeline", () => {
  test("takes one connection and is gone then", async () => {
    await using init = await startInitGateway()
    using _ = await init.inner()
    await init.load()
    expect(existsSync(init.lifelineSocket)).toBe(false)
    expect(init.inner()).rejects.toThrow()
  })

  test("ends everything when it drops, daemons included", async () => {
    await using init = await startInitGateway()
    {
      using _ = await init.inner()
      await init.load()
    }
    expect(await init.gateway.ended).toBe(0)
    expect(existsSync(init.egressSocket)).toBe(false)
  })

  test("an end is believed once, and is written down for the host", async () => {
    await using init = await startInitGateway()
    using inner = await init.inner()
    await init.load()
    await using client = await init.control()
    const launched = client.launch(LAUNCH)
    expect(await inner.heard()).toMatchObject({ type: "launch" })
    inner.say({ type: "started", pid: 7 })
    await launched
    for (let n = 0; n < 50; n += 1) inner.say({ type: "exited", code: n, workspace: UNCHANGED })
    await entry(init, (one) => one.kind === "agent-exit")
    // Answered after all of them were read.
    const files = client.provision([])
    expect(await inner.heard()).toMatchObject({ type: "provision" })
    inner.say({ type: "provisioned" })
    await files
    expect((await kinds(init)).filter((kind) => kind === "agent-exit").length).toBe(1)
    expect(JSON.parse(readFileSync(join(init.folder, "notes", "exit.json"), "utf8")).code).toBe(0)
  })

  test("a second session is judged from the first launch, and starts without the first one's end", async () => {
    using kept = temporaryFolder()
    const ledger = join(kept.path, "ledger")
    const since: number[] = []
    for (let session = 0; session < 2; session += 1) {
      await using init = await startInitGateway({ ledger })
      using inner = await init.inner()
      await init.load()
      await using client = await init.control()
      const launched = client.launch(LAUNCH)
      const message = await inner.heard()
      if (message.type === "launch") since.push(message.since)
      expect(existsSync(join(dirname(ledger), "exit.json"))).toBe(false)
      inner.say({ type: "started", pid: 7 })
      await launched
      inner.say({ type: "exited", code: 0, workspace: UNCHANGED })
      await entry(init, (one) => one.kind === "agent-exit" && one.seq > session * 4)
      expect(existsSync(join(dirname(ledger), "exit.json"))).toBe(true)
    }
    expect(since.length).toBe(2)
    expect(since[1]).toBe(since[0]!)
  })

  test("hostile lines end the bottle and nothing else", async () => {
    for (const line of ["[]", "{", '{"type":"exited","code":0}', `"${"x".repeat(5 * 1024 * 1024)}"`]) {
      await using init = await startInitGateway()
      using inner = await init.inner()
      await init.load()
      inner.socket.write(`${line}\n`)
      expect(await init.gateway.ended).toBe(0)
    }
  })

  test("a hostile line that is quoted in the ledger leaves it readable to its end", async () => {
    await using init = await startInitGateway()
    using inner = await init.inner()
    await init.load()
    inner.socket.write(`${JSON.stringify({ type: "hello", version: 1, ["x".repeat(100_000)]: 1 })}\n`)
    await init.gateway.ended
    const lines = readFileSync(join(init.folder, "notes/ledger/ledger-000001.jsonl"), "utf8")
      .trim()
      .split("\n")
    const kinds = lines.map((line) => ledgerEntry().parse(JSON.parse(line)).kind)
    expect(kinds.at(-1)).toBe("gateway-end")
  })
})

test("a full disk stops all traffic, and free space lets it go on with a whole ledger", async () => {
  using folder = temporaryFolder()
  // A file system of 256 KiB in a mount namespace of its own: it vanishes with the process that sees it.
  const script = 'mount -t tmpfs -o size=256k,mode=0700 tmpfs "$1" && exec "$2" "$3" "$1"'
  const worker = join(import.meta.dir, "..", "fixtures", "gateway-on-full-disk.ts")
  const argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", folder.path]
  const result = await run([...argv, process.execPath, worker], { timeoutMs: 60_000 })
  expect(JSON.parse(result.stdout.trim().split("\n").at(-1) ?? "")).toEqual({
    full: { state: "halted", egressAnswers: false },
    refused: expect.stringContaining("the ledger cannot be written"),
    free: { state: "loaded", egressAnswers: true },
    whole: true,
    halted: 1,
  })
})

describe("the control socket", () => {
  test("answers a bad request without a word of it, and goes on", async () => {
    await using init = await startInitGateway()
    const secret = init.token
    const bad = [`{"op":"load","tokens":"${secret}"}`, secret, `{"op":"${secret}"}`, "null", "[]"]
    for (const line of bad) {
      const answer = await rawControl(init, `${line}\n`)
      expect(JSON.parse(answer ?? "").type).toBe("error")
      expect(answer).not.toContain(secret)
    }
    expect((await statusOf(init)).state).toBe("empty")
  })

  test("closes on a line without end", async () => {
    await using init = await startInitGateway()
    expect(await rawControl(init, "x".repeat(17 * 1024 * 1024))).toBeUndefined()
    expect((await statusOf(init)).state).toBe("empty")
  })

  test("takes no change and no launch before a load", async () => {
    await using init = await startInitGateway()
    using _ = await init.inner()
    await using client = await init.control()
    expect(client.policy(init.policy(1))).rejects.toMatchObject({
      why: expect.stringContaining("load it first"),
    })
    expect(client.launch(LAUNCH)).rejects.toMatchObject({ why: expect.stringContaining("load it first") })
  })

  test("never tells a credential's value", async () => {
    await using init = await startInitGateway()
    await init.load()
    const status = await rawControl(init, '{"op":"status"}\n')
    expect(status).toContain('"generation":1')
    expect(status).not.toContain(init.token)
    expect(init.log.join("\n")).not.toContain(init.token)
  })
})
