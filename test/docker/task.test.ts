/** `--prompt`: one task without a terminal, its stdout the agent's alone, its exit status the agent's. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { createScripted, NOTHING, type Remains, type Scripted } from "./scripted.ts"

let scripted: Scripted
beforeAll(async () => {
  scripted = await createScripted()
})
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

const left = async (): Promise<Remains> => ({ ...(await scripted.remains()), networks: [] })

/** What a stream says, to be waited for piece by piece. */
class Heard {
  readonly #stream: AsyncIterator<Buffer>
  text = ""

  constructor(stream: NodeJS.ReadableStream) {
    this.#stream = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  }

  async until(found: (text: string) => boolean): Promise<void> {
    while (!found(this.text)) {
      const { value, done } = await this.#stream.next()
      if (done) throw new Error(`it ended with:\n${this.text}`)
      this.text += String(value)
    }
  }

  /** The rest, and all before it. */
  async all(): Promise<string> {
    await this.until(() => false).catch(() => {})
    return this.text
  }
}

/** --profile tells the phases when the start is over: from then on a signal is the agent's. */
const STARTED = (text: string) => /\d ms agent /.test(text)

test("stdout is what the agent wrote, byte for byte, and stderr has the rest", async () => {
  const script = `printf 'a\\r\\nb\\0\\033[31mc'; printf 'to stderr' >&2; [ -t 0 ] || [ -t 1 ] || printf ' no terminal'`
  const result = await scripted.start(script, { args: ["--prompt", "x"] })
  expect(result.stdout).toBe("a\r\nb\0\u001b[31mc no terminal")
  expect(result.stderr).toContain("to stderr")
  expect(result.code).toBe(0)
})

test("a megabyte of output arrives whole", async () => {
  const result = await scripted.start("head -c 1048576 /dev/zero | tr '\\0' x", { args: ["--prompt", "x"] })
  expect(result.stdout.length).toBe(1048576)
})

test("the task reaches the agent as one argument, whatever is in it", async () => {
  const task = "-- 'quotes' \"double\" $HOME `date`\nsecond line \u00e4\u{1f600}"
  const result = await scripted.start('for last; do :; done; printf %s "$last"', { args: ["--prompt", task] })
  expect(result.stdout.trimStart()).toBe(task)
})

test("arguments behind -- reach the agent as they are", async () => {
  const args = ["--prompt", "x", "--", "--flag", "a b", "--yes"]
  const result = await scripted.start("printf '<%s>' \"$@\"", { args })
  expect(result.stdout).toEndWith("<--flag><a b><--yes>")
})

test("stdin is not read: the agent sees its end at once", async () => {
  const result = await scripted.start("cat; echo read all", { args: ["--prompt", "x"] })
  expect(result.stdout).toBe("read all\n")
})

for (const status of [1, 7, 126, 127, 255]) {
  test(`the agent's exit status ${status} is ours, and its bottle is kept`, async () => {
    const result = await scripted.start(`exit ${status}`, { args: ["--prompt", "x"] })
    expect(result.code).toBe(status)
    expect(result.stderr).toMatch(/bottle resume scripted-[0-9a-z]{5}\n/)
    expect((await left()).state).toHaveLength(1)
  })
}

test("an agent that dies by a signal is told by 128 plus its number", async () => {
  const result = await scripted.start("kill -SEGV $$", { args: ["--prompt", "x"] })
  expect(result.code).toBe(139)
})

describe("a signal to bottle while the agent works", () => {
  const ends: [NodeJS.Signals, number][] = [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ]
  for (const [signal, status] of ends) {
    test(`${signal} ends the agent, and the bottle with it`, async () => {
      const args = ["--profile", "--prompt", "x"]
      await using bottle = scripted.spawn("echo works; exec sleep infinity", { args })
      const said = new Heard(bottle.stderr)
      await Promise.all([new Heard(bottle.stdout).until((text) => text === "works\n"), said.until(STARTED)])
      process.kill(bottle.pid, signal)
      expect(await bottle.exited).toBe(status)
      expect(await said.all()).toContain(`its agent ended with ${status}`)
      const { containers, state } = await left()
      expect(containers).toEqual([])
      expect(state).toHaveLength(1)
    })

    test(`${signal} lets the agent finish by itself, and its own status counts`, async () => {
      // Not a shell's trap, which may wait for the command that runs.
      const script = `exec node -e '
        process.on("${signal}", () => { console.log("tidied"); process.exit(0) })
        setInterval(() => {}, 1e9)
        console.log("works")'`
      await using bottle = scripted.spawn(script, { args: ["--profile", "--prompt", "x"] })
      const [out, said] = [new Heard(bottle.stdout), new Heard(bottle.stderr)]
      await Promise.all([out.until((text) => text === "works\n"), said.until(STARTED)])
      process.kill(bottle.pid, signal)
      expect(await bottle.exited).toBe(0)
      expect(await out.all()).toBe("works\ntidied\n")
      expect(await said.all()).toContain("nothing to keep")
      expect(await left()).toEqual(NOTHING)
    })
  }
})

test("an empty task, and a task that is detached, are usage errors before anything starts", async () => {
  for (const args of [
    ["--prompt", ""],
    ["--prompt", "x", "--detach"],
  ]) {
    const result = await scripted.start("true", { args })
    expect(result.code).toBe(2)
    expect(result.stderr).toContain("--prompt")
    expect(await left()).toEqual(NOTHING)
  }
})
