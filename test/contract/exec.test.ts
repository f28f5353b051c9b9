/** `bottle exec`: a command beside the agent is as near as one on this machine, and no nearer to anything else. */
import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { run, type StreamingProcess } from "../../src/runtime/spawn.ts"
import { CANARY, DETACH, onEveryBackend, STAY } from "./world.ts"

const MIB = 2 ** 20

onEveryBackend((world) => {
  /** `bottle exec` of a line of bash as a process of its own. */
  const spawned = (identity: string, line: string) =>
    world().spawnBottle("exec", identity, "--", "bash", "-c", line)
  /** Waits until no program with these words in its command line runs in the sandbox. */
  const noneWith = (identity: string, words: string) => {
    // Brackets, so that the question is not its own answer.
    const pattern = `[${words[0]}]${words.slice(1)}`
    const running = `cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q '${pattern}'`
    return world().inside(identity, `while ${running}; do sleep 0.05; done`)
  }

  describe("a command beside the agent", () => {
    test("is the agent's user in its workspace, with its environment and nothing of the caller's", async () => {
      const identity = await world().detached(STAY)
      const seen = await world().inside(
        identity,
        `id -u; pwd; echo $HOME $HTTPS_PROXY; printenv ${CANARY.name} || echo none`,
      )
      expect(seen).toBe("1000\n/workspace\n/home/agent http://127.0.0.1:9099\nnone")
    })

    test("keeps its outputs apart, byte for byte, and passes its status on", async () => {
      const identity = await world().detached(STAY)
      await using command = spawned(
        identity,
        "printf 'a\\r\\0\\377'; printf 'b\\033[31m' >/dev/stderr; exit 42",
      )
      const [out, errors] = await Promise.all([bytes(command.stdout), bytes(command.stderr)])
      expect([...out]).toEqual([...Buffer.from("a\r\0\xff", "latin1")])
      expect(errors.toString()).toBe("b\u001b[31m")
      expect(await command.exited).toBe(42)
    })

    test("is told about as a shell would: 127, 126, and 128 and the signal", async () => {
      const identity = await world().detached(STAY)
      const absent = await world().bottle("exec", identity, "--", "no-such-program")
      expect(absent).toMatchObject({ code: 127, stdout: "" })
      expect(absent.stderr).toContain("cannot start no-such-program")
      expect((await world().bottle("exec", identity, "--", "/etc/passwd")).code).toBe(126)
      for (const [signal, status] of [
        ["TERM", 143],
        ["KILL", 137],
      ] as const) {
        const result = await world().bottle("exec", identity, "--", "bash", "-c", `kill -${signal} $$`)
        expect(result.code).toBe(status)
      }
    })

    test("gets its words as they are", async () => {
      const identity = await world().detached(STAY)
      const words = ["--", "--help", "a b", "", "'q'", "$HOME", "`id`", "zwei\nZeilen ä"]
      const { stdout } = await world().bottle("exec", identity, "--", "printf", "<%s>", ...words)
      expect(stdout).toBe(words.map((word) => `<${word}>`).join(""))
    })

    test("is in the ledger by its name", async () => {
      const identity = await world().detached(STAY)
      await world().ok("exec", identity, "--", "true")
      const entries = (await world().ok("log", identity, "--format", "json"))
        .split("\n")
        .map((line) => JSON.parse(line))
      expect(entries.filter(({ kind }) => kind === "exec")).toMatchObject([
        { by: "init", data: { program: "true" } },
      ])
      await world().ok("log", identity, "--verify")
    })

    test("runs beside others, each with its own streams and status", async () => {
      const identity = await world().detached(STAY)
      const commands = Array.from({ length: 8 }, () => spawned(identity, "read n; echo got $n; exit $n"))
      const outputs = commands.map((command) => bytes(command.stdout))
      for (const [i, { stdin }] of commands.entries()) stdin.end(`${i}\n`)
      expect(await Promise.all(commands.map((command) => command.exited))).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
      expect((await Promise.all(outputs)).map(String)).toEqual(commands.map((_, i) => `got ${i}\n`))
    })
  })

  describe("pipes", () => {
    test("carry 100 MB through the sandbox and back to a slow reader, and what is held meanwhile is bounded", async () => {
      const identity = await world().detached(STAY)
      await using command = spawned(identity, "cat")
      const [sent, got] = [createHash("sha256"), createHash("sha256")]
      const fed = (async () => {
        for (let i = 0; i < 400; i += 1) {
          const chunk = Buffer.alloc(MIB / 4, `${i} `)
          sent.update(chunk)
          if (!command.stdin.write(chunk)) await once(command.stdin, "drain")
        }
        command.stdin.end()
      })()
      let seen = 0
      let most = 0
      for await (const chunk of command.stdout as AsyncIterable<Buffer>) {
        got.update(chunk)
        seen += chunk.length
        most = Math.max(most, mostMemoryOf(command.pid))
      }
      await fed
      expect(seen).toBe(100 * MIB)
      expect(got.digest("hex")).toBe(sent.digest("hex"))
      expect(await command.exited).toBe(0)
      expect(most).toBeLessThan(250 * MIB)
    })

    test("carry a tree out and in again by tar, as it was", async () => {
      const make =
        "mkdir -p tree/deep; seq 1 99999 >tree/deep/file; chmod 750 tree/deep; ln -s deep/file tree/link"
      const identity = await world().detached(`${make}; : >made; ${STAY}`)
      await world().until(identity, "[ -e made ]")
      await using out = spawned(identity, "tar -C tree -c .")
      await using back = spawned(identity, "mkdir copy; tar -C copy -x")
      out.stdout.pipe(back.stdin)
      expect([await out.exited, await back.exited]).toEqual([0, 0])
      expect(
        await world().inside(identity, "diff -r tree copy && stat -c %a copy/deep; readlink copy/link"),
      ).toBe("750\ndeep/file")
    })

    test("end on either side: a reader that leaves ends the command, as in a pipe of this machine", async () => {
      const identity = await world().detached(STAY)
      await using command = spawned(identity, "exec yes exec-without-reader")
      await once(command.stdout, "data")
      command.stdout.destroy()
      expect(await command.exited).toBe(141)
      await noneWith(identity, "yes exec-without-reader")
    })

    for (const [what, stdin] of [
      ["a device without an end", "/dev/urandom"],
      ["a closed stdin", "&-"],
    ] as const) {
      test(`${what} is no reason to stay when the command has ended`, async () => {
        const identity = await world().detached(STAY)
        const { cwd, env, as, program } = world()
        const line = `exec "$0" exec "$1" -- sh -c 'head -c 5; exit 6' <${stdin}`
        const ended = await run(["sh", "-c", line, program, identity], {
          ...{ cwd, env, timeoutMs: 30_000 },
          ...(as === undefined ? {} : { as }),
        })
        expect(ended).toMatchObject({ code: 6, stderr: "" })
      })
    }

    test("without input end at once", async () => {
      const identity = await world().detached(STAY)
      expect(await world().bottle("exec", identity, "--", "cat")).toMatchObject({ code: 0, stdout: "" })
    })
  })

  describe("signals to the caller", () => {
    for (const [signal, status] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
      ["SIGQUIT", 131],
    ] as const) {
      test(`${signal} is the command's`, async () => {
        const identity = await world().detached(STAY)
        await using command = spawned(identity, "echo ready; exec sleep infinity")
        await once(command.stdout, "data")
        process.kill(command.pid, signal)
        expect(await command.exited).toBe(status)
      })
    }

    test("are the command's to answer", async () => {
      const identity = await world().detached(STAY)
      await using command = spawned(
        identity,
        "trap 'echo tidied; exit 9' INT; echo ready; sleep infinity & wait",
      )
      await once(command.stdout, "data")
      process.kill(command.pid, "SIGINT")
      expect((await bytes(command.stdout)).toString()).toBe("tidied\n")
      expect(await command.exited).toBe(9)
    })

    test("a second SIGTERM leaves a command that ignores it, and ends it", async () => {
      const identity = await world().detached(STAY)
      await using command = spawned(identity, "trap '' TERM; echo ready; exec sleep 1234569")
      await once(command.stdout, "data")
      command.stdout.resume()
      let left = false
      const exited = command.exited.finally(() => {
        left = true
      })
      process.kill(command.pid, "SIGTERM")
      // The first has arrived when a later command was served.
      await world().inside(identity, "true")
      expect(left).toBe(false)
      process.kill(command.pid, "SIGTERM")
      expect(await exited).toBe(143)
      await noneWith(identity, "sleep 1234569")
    })

    for (const [signal, status] of [
      ["SIGKILL", 137],
      ["SIGHUP", 129],
    ] as const) {
      test(`${signal} leaves nothing behind, also of what ignores the end of its caller`, async () => {
        const identity = await world().detached(STAY)
        const stubborn = "trap '' HUP; (exec sleep 1234567) & echo ready; exec sleep 1234568"
        await using command = spawned(identity, stubborn)
        await once(command.stdout, "data")
        command.stdout.resume()
        process.kill(command.pid, signal)
        expect(await command.exited).toBe(status)
        await noneWith(identity, "sleep 123456")
      })
    }
  })

  describe("a command on a terminal", () => {
    test("has its size and name, every key, and its status is passed on", async () => {
      const identity = await world().detached(STAY)
      const script = "stty size; echo term=$TERM; stty raw -echo; echo ready; head -c 4 | od -An -tx1; exit 7"
      await using terminal = world().onTerminal("exec", identity, "--", "bash", "-c", script)
      const seen = await terminal.sees("ready")
      expect(seen).toContain("40 120")
      expect(seen).toContain("term=xterm-256color")
      terminal.type(`${DETACH}\u0003\u001a`)
      await terminal.sees("1c 64 03 1a")
      expect(await terminal.exited).toBe(7)
    })

    test("follows the window, and Ctrl-C is a key of its own", async () => {
      const identity = await world().detached(STAY)
      const script =
        "trap 'echo size $(stty size).' WINCH; echo ready; sleep infinity & while :; do wait; done"
      await using terminal = world().onTerminal("exec", identity, "--", "bash", "-c", script)
      await terminal.sees("ready")
      terminal.resize(91, 33)
      await terminal.sees("size 33 91.")
      terminal.type("\u0003")
      expect(await terminal.exited).toBe(130)
    })

    test("ends with its window", async () => {
      const identity = await world().detached(STAY)
      await using terminal = world().onTerminal("exec", identity, "--", "bash")
      terminal.type("echo rea''dy; sleep 7654321\r")
      await terminal.sees("ready")
      terminal.hangUp()
      await terminal.exited
      await noneWith(identity, "sleep 7654321")
    })
  })

  describe("when there is no agent", () => {
    test("the end of the agent is the command's, and is told", async () => {
      const identity = await world().detached("until [ -e end ]; do sleep 0.05; done; exit 3")
      await using command = spawned(identity, "echo ready; exec sleep infinity")
      const errors = bytes(command.stderr)
      await once(command.stdout, "data")
      await world()
        .inside(identity, ": >end; sleep infinity")
        .catch(() => {})
      expect(await command.exited).toBe(137)
      expect((await errors).toString()).toContain(`The agent of ${identity} ended, and the command with it`)
      await world().ended(identity)
      const refused = await world().bottle("exec", identity, "--", "true")
      expect(refused).toMatchObject({ code: 1, stdout: "" })
      expect(refused.stderr).toContain(`${identity} does not run`)
      expect(refused.stderr).toContain(`bottle resume ${identity}`)
    })
  })
})

/** The most memory that a process has had, in bytes; 0 for one that has ended. */
function mostMemoryOf(pid: number): number {
  try {
    return 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0)
  } catch {
    return 0
  }
}

async function bytes(stream: StreamingProcess["stdout"]): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part as Buffer)
  return Buffer.concat(parts)
}
