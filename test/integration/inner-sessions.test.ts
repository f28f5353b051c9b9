/** inner's sessions and init's broker with real sockets and real programs, and no sandbox around them. */
import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs"
import { createConnection, type Socket } from "node:net"
import { join } from "node:path"
import { FRAME, FRAME_MAX, INPUT_WINDOW } from "../../src/policy/wire/session.ts"
import { type SessionHost, SessionWorld } from "../fixtures/session-host.ts"

const MIB = 2 ** 20

describe("a command on plain pipes", () => {
  test("has the agent's environment and folder, and its two outputs stay apart", async () => {
    await using world = await SessionWorld.create()
    const host = await world.sh('pwd; echo "$AGENT_VARIABLE"; echo aside >&2; exit 7')
    expect(await host.ended).toEqual({ kind: "exit", code: 7 })
    expect(host.output.toString()).toBe(`${world.folder.path}\nof the agent's\n`)
    expect(host.errors.toString()).toBe("aside\n")
    expect(host.kinds[0]).toBe(FRAME.begun)
    expect(host.kinds.at(-1)).toBe(FRAME.exit)
  })

  test("reads its input to the end, and no byte is changed on the way", async () => {
    await using world = await SessionWorld.create()
    const host = await world.exec(["cat"])
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    host.input(bytes)
    host.send(FRAME.inputEnd)
    expect(await host.ended).toEqual({ kind: "exit", code: 0 })
    expect(host.output.equals(bytes)).toBe(true)
  })

  test("can open its standard streams by their names", async () => {
    await using world = await SessionWorld.create()
    const host = await world.sh("cat /dev/stdin; echo out >/dev/stdout; echo err >/dev/stderr")
    host.input("in ")
    host.send(FRAME.inputEnd)
    expect(await host.ended).toEqual({ kind: "exit", code: 0 })
    expect([host.output.toString(), host.errors.toString()]).toEqual(["in out\n", "err\n"])
  })

  test("is told about as 127 when there is none, and as 126 when it cannot be run", async () => {
    await using world = await SessionWorld.create()
    writeFileSync(join(world.folder.path, "text"), "no program", { mode: 0o600 })
    const absent = await (await world.exec(["no-such-program"])).ended
    expect(absent).toMatchObject({ kind: "fault", code: 127 })
    expect(JSON.stringify(absent)).toContain("no-such-program")
    const text = await (await world.exec([join(world.folder.path, "text")])).ended
    expect(text).toMatchObject({ kind: "fault", code: 126 })
  })

  test("that has stopped reading leaves its host able to write all it has", async () => {
    await using world = await SessionWorld.create()
    const host = await world.sh("exec <&-; echo closed; exec sleep infinity")
    await host.sees("closed")
    for (let sent = 0; sent < 8 * INPUT_WINDOW; sent += FRAME_MAX) {
      host.input(Buffer.alloc(FRAME_MAX))
      await host.hasTaken(sent + FRAME_MAX)
    }
    host.send(FRAME.inputEnd)
    host.send(FRAME.signal, { signal: "SIGTERM" })
    expect(await host.ended).toEqual({ kind: "exit", code: 143 })
  })

  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGQUIT", 131],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    test(`gets ${signal}, also behind input that nobody takes, with all that it started`, async () => {
      await using world = await SessionWorld.create()
      const host = await world.sh("sh -c 'echo $$; exec sleep infinity'; echo unreached")
      const pid = await firstLine(host)
      host.input(Buffer.alloc(INPUT_WINDOW))
      host.send(FRAME.signal, { signal })
      expect(await host.ended).toEqual({ kind: "exit", code: status })
      await gone(pid)
      expect(host.output.toString()).toBe(`${pid}\n`)
    })
  }

  test("may answer a signal as it likes", async () => {
    await using world = await SessionWorld.create()
    const host = await world.sh("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.01; done")
    await host.sees("ready")
    host.send(FRAME.signal, { signal: "SIGINT" })
    expect(await host.ended).toEqual({ kind: "exit", code: 9 })
    expect(host.output.toString()).toEndWith("caught\n")
  })

  test("that leaves a process with its output behind is over when it has ended itself", async () => {
    await using world = await SessionWorld.create()
    const host = await world.sh("sleep infinity & echo $!; exit 4")
    expect(await host.ended).toEqual({ kind: "exit", code: 4 })
    process.kill(Number(host.output), "SIGKILL")
  })
})

describe("what a program wrote before its end", () => {
  test("is never lost: a hundred that write and leave at once, on pipes", async () => {
    await using world = await SessionWorld.create()
    const expected = Array.from({ length: 3000 }, (_, i) => `${i + 1}\n`).join("")
    for (let round = 0; round < 25; round += 1) {
      const hosts = await Promise.all(
        [3, 4, 5, 6].map((code) => world.sh(`seq 1 3000; seq 1 3000 >&2; exit ${code}`)),
      )
      for (const [i, host] of hosts.entries()) {
        expect(await host.ended).toEqual({ kind: "exit", code: 3 + i })
        expect(host.output.toString() === expected && host.errors.toString() === expected).toBe(true)
        expect(host.kinds.at(-1)).toBe(FRAME.exit)
      }
    }
  })

  test("is never lost: fifty that write and leave at once, on terminals", async () => {
    await using world = await SessionWorld.create()
    const expected = Array.from({ length: 1000 }, (_, i) => `${i + 1}\r\n`).join("")
    for (let round = 0; round < 10; round += 1) {
      const hosts = await Promise.all([3, 4, 5, 6, 7].map((n) => world.shOnTerminal(`seq 1 1000; exit ${n}`)))
      for (const [i, host] of hosts.entries()) {
        expect(await host.ended).toEqual({ kind: "exit", code: 3 + i })
        expect(host.output.toString() === expected).toBe(true)
      }
    }
  })

  test("reaches a host that begins to read only when it has ended", async () => {
    await using world = await SessionWorld.create()
    const done = join(world.folder.path, "done")
    // Fits into what may wait for a host, so that the program can end.
    const host = await world.sh(`head -c ${MIB / 2} /dev/zero; echo end; : >${done}; exit 5`, {
      reads: false,
    })
    await exists(done)
    host.resume()
    expect(await host.ended).toEqual({ kind: "exit", code: 5 })
    expect(host.output.length).toBe(MIB / 2 + 4)
  })
})

describe("a host that never reads", () => {
  test("makes its program wait and holds up no other session, and memory stays bounded", async () => {
    await using world = await SessionWorld.create()
    const before = process.memoryUsage().rss
    const stuck = await world.sh("echo $$ >pid; exec cat /dev/zero", { reads: false })
    const pidFile = join(world.folder.path, "pid")
    await exists(pidFile)
    const reader = await world.sh(`head -c ${128 * MIB} /dev/zero | tr '\\0' x`)
    expect(await reader.ended).toEqual({ kind: "exit", code: 0 })
    expect(reader.output.length).toBe(128 * MIB)
    const pid = readFileSync(pidFile, "utf8").trim()
    // The control is the session above: as much passed through it in the same time.
    expect(writtenBy(pid)).toBeLessThan(16 * MIB)
    expect(process.memoryUsage().rss - before).toBeLessThan(600 * MIB)
    stuck.vanish()
    await gone(Number(pid))
  })

  test("of a terminal makes nobody wait: the others see all, and it sees the last screen", async () => {
    await using world = await SessionWorld.create({ running: false })
    const launch = world.launch("terminal")
    const go = join(world.folder.path, "go")
    const script = `until [ -e ${go} ]; do sleep 0.01; done; seq 1 400000; echo the end; exit 3`
    const { program } = await world.sessions.start(["sh", "-c", script], launch)
    const size = { rows: 24, columns: 80 }
    const other = await world.join({ kind: "attach", size })
    const stuck = await world.join({ kind: "attach", size }, { reads: false })
    writeFileSync(go, "")
    expect(await other.ended).toEqual({ kind: "exit", code: 3 })
    const lines = other.output.toString().split("\r\n")
    expect(lines).toContain("1")
    expect(lines).toContain("400000")
    stuck.resume()
    expect(await stuck.ended).toEqual({ kind: "exit", code: 3 })
    expect(stuck.output.toString()).toContain("the end")
    expect(await program.exited).toBe(3)
  })
})

describe("a host that vanishes", () => {
  for (const [streams, start] of [
    ["pipes", (world: SessionWorld, line: string) => world.sh(line)],
    ["a terminal", (world: SessionWorld, line: string) => world.shOnTerminal(line)],
  ] as const) {
    test(`ends what ran for it on ${streams}: told by SIGHUP, and all of it`, async () => {
      await using world = await SessionWorld.create()
      const told = join(world.folder.path, "told")
      const line = `trap 'echo hup >${told}; exit' HUP; sleep infinity & echo $$ $! end; while :; do wait; done`
      const host = await start(world, line)
      const pids = numbers(await host.sees("end"))
      // Between fork and exec a shell's child has its parent's traps, and forgets what came.
      await until(() => textOf(`/proc/${pids[1]}/comm`) === "sleep\n")
      host.vanish()
      for (const pid of pids) await gone(pid)
      expect(readFileSync(told, "utf8")).toBe("hup\n")
    })

    test(`ends what does not want to on ${streams}, after a grace`, async () => {
      await using world = await SessionWorld.create()
      // What is ignored stays so in what is started.
      const line = "trap '' HUP; sh -c 'while :; do sleep 1; done' & echo $! $$ end; wait; wait"
      const host = await start(world, line)
      const pids = numbers(await host.sees("end"))
      expect(pids.length).toBe(2)
      host.vanish()
      for (const pid of pids) await gone(pid)
    }, 20_000)
  }

  test("before its program runs leaves none behind", async () => {
    await using world = await SessionWorld.create()
    for (let round = 0; round < 10; round += 1) {
      ;(await world.sh("exec sleep infinity")).vanish()
      ;(await world.shOnTerminal("exec sleep infinity")).vanish()
    }
    // Sessions are begun in their order: the others have been as well.
    const last = await world.sh("echo $$; exec sleep infinity")
    const pid = await firstLine(last)
    await until(() => programsIn(world.folder.path).every((other) => other === pid))
    expect(programsIn(world.folder.path)).toEqual([pid])
  })
})

describe("a terminal", () => {
  test("has the size of its window from the first moment on, and every later one", async () => {
    await using world = await SessionWorld.create()
    const host = await world.shOnTerminal(
      'tell() { echo "[$(stty size)]"; }; trap tell WINCH; tell; while :; do sleep 0.01; done',
      { rows: 31, columns: 97 },
    )
    await host.sees("[31 97]")
    host.send(FRAME.resize, { rows: 50, columns: 132 })
    await host.sees("[50 132]")
    host.send(FRAME.resize, { rows: 1, columns: 1 })
    await host.sees("[1 1]")
    host.input("\u0003")
    expect(await host.ended).toEqual({ kind: "exit", code: 130 })
  })

  test("is the program's controlling one, named as the host's, and its keys are signals", async () => {
    await using world = await SessionWorld.create()
    const host = await world.shOnTerminal("[ -t 0 ] && [ -t 1 ] && echo $TERM >/dev/tty; exec sleep infinity")
    await host.sees("xterm")
    host.input("\u001c")
    expect(await host.ended).toEqual({ kind: "exit", code: 131 })
  })

  test("is told about as 127 when there is no program for it", async () => {
    await using world = await SessionWorld.create()
    const size = { rows: 24, columns: 80 }
    const argv = ["no-such-program"]
    const host = await world.join({ kind: "exec", argv, terminal: { term: "", size } })
    expect(await host.ended).toMatchObject({ kind: "fault", code: 127 })
  })
})

describe("many hosts at once", () => {
  test("each get their own program's output, input and end; one more than there may be is refused", async () => {
    await using world = await SessionWorld.create()
    const hosts = await Promise.all(
      Array.from({ length: 24 }, () => world.sh("read n; echo out $n; exit $n")),
    )
    expect(world.sh("true")).rejects.toThrow("24 sessions already")
    for (const [i, host] of hosts.entries()) host.input(`${i}\n`)
    for (const [i, host] of hosts.entries()) {
      expect(await host.ended).toEqual({ kind: "exit", code: i })
      expect(host.output.toString()).toBe(`out ${i}\n`)
      host.vanish()
    }
    await until(async () => (await world.sh("exit 6").catch(() => undefined)) !== undefined)
  })

  test("carry 100 MB each way beside each other", async () => {
    await using world = await SessionWorld.create()
    const size = 100 * MIB
    const [up, down] = await Promise.all([
      world.sh("sha256sum"),
      world.sh(`head -c ${size} /dev/zero | tr '\\0' x`),
    ])
    const hash = createHash("sha256")
    for (let sent = 0; sent < size; sent += FRAME_MAX) {
      const chunk = Buffer.alloc(FRAME_MAX, `${sent} `)
      hash.update(chunk)
      up.input(chunk)
      await up.hasTaken(sent + FRAME_MAX - INPUT_WINDOW)
    }
    up.send(FRAME.inputEnd)
    expect(await up.ended).toEqual({ kind: "exit", code: 0 })
    expect(up.output.toString()).toStartWith(hash.digest("hex"))
    expect(await down.ended).toEqual({ kind: "exit", code: 0 })
    expect(down.output.length).toBe(size)
  }, 30_000)
})

describe("the agent's own streams", () => {
  test("and commands are refused before there is an agent, and commands when it has ended", async () => {
    await using world = await SessionWorld.create({ running: false })
    expect(await (await world.sh("true")).ended).toMatchObject({
      kind: "fault",
      reason: "its agent does not run yet",
    })
    world.sessions.remember(world.launch("inherit"))
    world.sessions.agentEnded()
    expect(await (await world.sh("true")).ended).toMatchObject({
      kind: "fault",
      reason: "its agent has ended",
    })
  })

  test("end commands with them: each host is told why before inner leaves, and a silent one delays it little", async () => {
    await using world = await SessionWorld.create()
    const piped = await world.sh("echo $$; exec sleep infinity")
    const onTerminal = await world.shOnTerminal("echo $$; exec sleep infinity")
    const pids = [await firstLine(piped), await firstLine(onTerminal)]
    const silent = await world.sh("echo $$ >pid; exec cat /dev/zero", { reads: false })
    const pidFile = join(world.folder.path, "pid")
    await until(() => textOf(pidFile).endsWith("\n"))
    world.sessions.agentEnded()
    for (const pid of [...pids, Number(textOf(pidFile))]) process.kill(pid, "SIGKILL")
    await world.sessions.told()
    for (const host of [piped, onTerminal]) {
      expect(await host.ended).toEqual({ kind: "exit", code: 137, agent_ended: true })
    }
    silent.vanish()
  })

  test("are joined as what they are: a window for a terminal, none for a task", async () => {
    await using terminal = await SessionWorld.create({ running: false })
    const { program } = await terminal.sessions.start(["sleep", "infinity"], terminal.launch("terminal"))
    expect(await (await terminal.join({ kind: "attach" })).ended).toMatchObject({
      reason: "its agent is on a terminal",
    })
    program.signal("SIGKILL")
    await using task = await SessionWorld.create({ running: false })
    const started = await task.sessions.start(["sh", "-c", "echo done; exit 3"], task.launch("pipes"))
    const size = { rows: 24, columns: 80 }
    expect(await (await task.join({ kind: "attach", size })).ended).toMatchObject({
      reason: "its agent does one task, without a terminal",
    })
    const host = await task.join({ kind: "attach" })
    expect(await host.ended).toEqual({ kind: "exit", code: 3 })
    expect(host.output.toString()).toBe("done\n")
    expect(await started.program.exited).toBe(3)
  })
})

describe("hostile hosts and strangers", () => {
  for (const [what, line] of [
    ["a wrong token", JSON.stringify({ token: "0".repeat(32) })],
    ["no token", "{}"],
    ["noise", "\u0000\u0001\u0002"],
    ["a line without an end", "x".repeat(10_000)],
  ] as const) {
    test(`a connection with ${what} is closed, and the one awaited still joins`, async () => {
      await using world = await SessionWorld.create()
      const stranger = connection(world)
      await once(stranger, "connect")
      stranger.write(what === "a line without an end" ? line : `${line}\n`)
      const host = await world.sh("echo served")
      expect(await host.ended).toEqual({ kind: "exit", code: 0 })
      expect(host.output.toString()).toBe("served\n")
      if (!stranger.closed) await once(stranger, "close")
    })
  }

  test("a token serves once", async () => {
    await using world = await SessionWorld.create()
    let shown = ""
    const joined = world.broker.open((token) => {
      shown = token
      return true
    })
    const hello = `${JSON.stringify({ token: shown })}\n`
    const [first, second] = [connection(world), connection(world)]
    first.write(hello)
    const socket = await joined
    second.write(hello)
    await once(second, "close")
    expect(first.closed).toBe(false)
    for (const end of [first, socket]) end.destroy()
  })

  test("any number of connections that say nothing keep nobody out, and only so many stay open", async () => {
    await using world = await SessionWorld.create()
    const strangers: Socket[] = []
    for (let round = 0; round < 4; round += 1) {
      for (let i = 0; i < 20; i += 1) strangers.push(connection(world))
      expect(await (await world.sh("exit 3")).ended).toEqual({ kind: "exit", code: 3 })
    }
    await until(() => strangers.filter((stranger) => !stranger.closed).length <= 32)
    // The oldest went.
    expect(strangers.slice(0, 48).every((stranger) => stranger.closed)).toBe(true)
    for (const stranger of strangers) stranger.destroy()
    expect(await (await world.sh("exit 4")).ended).toEqual({ kind: "exit", code: 4 })
  })

  test("frames of kinds that nobody knows are nothing", async () => {
    await using world = await SessionWorld.create()
    const host = await world.exec(["cat"])
    for (const kind of [4, 15, 16, 99, 255]) host.send(kind, { any: "thing" })
    host.input("still there")
    host.send(FRAME.inputEnd)
    expect(await host.ended).toEqual({ kind: "exit", code: 0 })
    expect(host.output.toString()).toBe("still there")
  })

  const broken: [string, (host: SessionHost) => void][] = [
    ["a frame longer than agreed", (host) => host.raw(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]))],
    ["a signal that is none of those", (host) => host.send(FRAME.signal, { signal: "SIGKILL" })],
    [
      "more input than was agreed",
      (host) => {
        for (let i = 0; i < 16; i += 1) host.input(Buffer.alloc(FRAME_MAX))
      },
    ],
  ]
  for (const [what, breaks] of broken) {
    test(`${what} ends the session and its program`, async () => {
      await using world = await SessionWorld.create()
      const host = await world.sh("echo $$; exec sleep infinity")
      const pid = await firstLine(host)
      breaks(host)
      expect(await host.ended).toEqual({ kind: "lost" })
      await gone(pid)
    })
  }

  test("a window that is none ends the session and its program", async () => {
    await using world = await SessionWorld.create()
    const host = await world.shOnTerminal("echo $$; exec sleep infinity")
    const pid = await firstLine(host)
    host.send(FRAME.resize, { rows: 0, columns: 80 })
    expect(await host.ended).toEqual({ kind: "lost" })
    await gone(pid)
  })
})

function connection(world: SessionWorld): Socket {
  const socket = createConnection(world.socket)
  socket.on("error", () => {})
  // Its end is seen by who reads.
  return socket.resume()
}

async function firstLine(host: SessionHost): Promise<number> {
  return Number((await host.sees("\n")).split("\n")[0])
}

function numbers(text: string): number[] {
  return [...text.matchAll(/\d+/g)].map(([digits]) => Number(digits))
}

function isAlive(pid: number): boolean {
  return /^State:\s+[^ZX]/m.test(textOf(`/proc/${pid}/status`))
}

/** Programs that run in that folder. */
function programsIn(folder: string): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid && isAlive(pid) && folderOf(pid) === folder)
}

function folderOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    // Gone meanwhile, or another user's.
    return ""
  }
}

/** Neither runs nor waits to be taken notice of; the kernel tells nobody, so it is asked. */
function gone(pid: number): Promise<void> {
  return until(() => !isAlive(pid))
}

function exists(path: string): Promise<void> {
  return until(() => statSync(path, { throwIfNoEntry: false }) !== undefined)
}

/** Asks again and again, letting everything else go on; the test's own time is the bound. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise(setImmediate)
}

/** Empty where there is no such file */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

/** Bytes that a process has written so far. */
function writtenBy(pid: string): number {
  return Number(/^wchar: (\d+)/m.exec(textOf(`/proc/${pid}/io`))?.[1])
}
