/** A session on a terminal: the agent has it whole, and can be left and joined again. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { onTerminal, type TerminalProgram } from "../fixtures/terminal.ts"
import { createScripted, NOTHING, type Remains, type Scripted, STAY } from "./scripted.ts"
import { createWorld, type World } from "./world.ts"

/** ctrl-\ d */
const DETACH = "\u001cd"

let scripted: Scripted
beforeAll(async () => {
  scripted = await createScripted()
})
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

const left = async (): Promise<Remains> => ({ ...(await scripted.remains()), networks: [] })

async function onlyIdentity(): Promise<string> {
  const [identity = ""] = (await scripted.world.ok("list", "active")).split("\t").slice(1)
  expect(identity).toStartWith("scripted-")
  return identity
}

/** An agent in JavaScript that stays: a shell may hold a signal back until the command that it waits for ends. */
function agent(script: string): string {
  return `exec node -e '${script}; setInterval(() => {}, 1e9)'`
}

/** A shell-like agent: says what it was given, and ends on `exit N`. */
const ECHO =
  'stty -echo; echo ready; while read -r word n; do [ "$word" = exit ] && exit $n; echo "got $word"; done'

describe("an agent on a terminal", () => {
  test("gets what is typed, and its exit status is ours, its bottle kept and the way back told", async () => {
    await using terminal = scripted.terminal(ECHO)
    await terminal.sees("ready")
    terminal.type("hello\r")
    await terminal.sees("got hello")
    const identity = await onlyIdentity()
    terminal.type("exit 7\r")
    await terminal.sees(`Kept ${identity}: its agent ended with 7. Go on with it: bottle resume ${identity}`)
    expect(await terminal.exited).toBe(7)
    expect((await left()).state).toEqual([identity])
    expect((await left()).containers).toEqual([])
  })

  test("that ends with 0 and nothing to keep leaves nothing", async () => {
    await using terminal = scripted.terminal(ECHO)
    await terminal.sees("ready")
    terminal.type("exit 0\r")
    expect(await terminal.exited).toBe(0)
    expect(await left()).toEqual(NOTHING)
  })

  test("sees the size of the window, and each change of it", async () => {
    const script = agent(`
      const tell = () => console.log("size", process.stdout.rows, process.stdout.columns)
      process.stdout.on("resize", tell)
      tell()`)
    await using terminal = scripted.terminal(script)
    await terminal.sees("size 40 120")
    terminal.resize(91, 33)
    await terminal.sees("size 33 91")
    terminal.resize(132, 50)
    await terminal.sees("size 50 132")
  })

  test("gets Ctrl-C as on any terminal, and bottle lives on", async () => {
    const script = agent('process.on("SIGINT", () => console.log("interrupted")); console.log("ready")')
    await using terminal = scripted.terminal(script)
    await terminal.sees("ready")
    terminal.type("\u0003")
    await terminal.sees("interrupted")
    terminal.type("\u0003")
    await terminal.sees("interrupted")
    expect((await scripted.world.ok("list", "active")).split("\t")[3]).toBe("agent,egress")
  })

  test("ended by Ctrl-C is told by 130", async () => {
    await using terminal = scripted.terminal("echo ready; exec sleep infinity")
    await terminal.sees("ready")
    terminal.type("\u0003")
    expect(await terminal.exited).toBe(130)
  })
})

describe("leaving the terminal", () => {
  test("with ctrl-\\ d lets the bottle run on, and attach joins it again until it ends", async () => {
    const identity = await (async () => {
      await using terminal = scripted.terminal(ECHO)
      await terminal.sees("ready")
      terminal.type(DETACH)
      await terminal.sees("Back to it: bottle attach scripted-")
      expect(await terminal.exited).toBe(0)
      return onlyIdentity()
    })()
    await using again = scripted.onTerminal("attach", identity)
    await joined(again)
    again.type("exit 3\r")
    await again.sees(`bottle resume ${identity}`)
    expect(await again.exited).toBe(3)
    expect((await left()).containers).toEqual([])
  })

  /** Types until the agent answers: docker tells nothing when it has joined. */
  async function joined(terminal: TerminalProgram): Promise<void> {
    terminal.type("hello\r")
    await terminal.sees("got hello")
  }

  const ways: [string, (terminal: TerminalProgram) => void, number][] = [
    ["closing the window", (terminal) => terminal.hangUp(), 129],
    ["SIGHUP to bottle", (terminal) => terminal.kill("SIGHUP"), 129],
    ["SIGTERM to bottle", (terminal) => terminal.kill("SIGTERM"), 143],
    ["SIGKILL to bottle", (terminal) => terminal.kill("SIGKILL"), 137],
  ]
  for (const [what, leave, status] of ways) {
    test(`by ${what} lets the bottle run on, listed and ready to be joined and stopped`, async () => {
      {
        await using terminal = scripted.terminal(ECHO, { args: ["--profile"] })
        // The phases are told when the start is over: before that, each of these takes it back.
        await terminal.sees("ms agent")
        leave(terminal)
        expect(await terminal.exited).toBe(status)
      }
      const identity = await onlyIdentity()
      expect(await scripted.world.ok("list", "active")).toBe(`docker\t${identity}\tscripted\tagent,egress`)
      await using again = scripted.onTerminal("attach", identity)
      await joined(again)
      again.type(DETACH)
      await again.sees("runs on")
      expect(await again.exited).toBe(0)
      await scripted.world.ok("stop", identity)
      expect(await left()).toEqual(NOTHING)
    })
  }

  test("a stop from elsewhere ends the attached terminal, and the bottle is settled once", async () => {
    await using terminal = scripted.terminal(`echo ready; ${STAY}`)
    await terminal.sees("ready")
    const identity = await onlyIdentity()
    const stopped = await scripted.world.bottle("stop", identity)
    expect(stopped.code).toBe(0)
    await terminal.exited
    expect((await left()).containers).toEqual([])
  })

  test("the end of an agent that nobody watches is seen by attach, list and cleanup", async () => {
    const identity = await scripted.detached("exit 0")
    await scripted.ended(identity)
    expect(await scripted.world.ok("list", "active")).toBe(`docker\t${identity}\tscripted\t\tended`)
    await using again = scripted.onTerminal("attach", identity)
    await again.sees("does not run")
    expect(await again.exited).toBe(1)
    await scripted.world.ok("cleanup", "--yes")
    expect(await left()).toEqual(NOTHING)
  })
})

test("N, Enter and Ctrl-C at the question start nothing and leave no trace", async () => {
  const { world } = scripted
  const before = await scripted.remains()
  for (const [keys, status] of [
    ["n\r", 1],
    ["\r", 1],
    ["\u0003", 130],
  ] as const) {
    const env = { ...world.env, AGENT_SCRIPT: STAY }
    await using terminal = onTerminal([...world.command, "start", "scripted"], { cwd: world.cwd, env })
    await terminal.sees("[y/N]")
    terminal.type(keys)
    expect(await terminal.exited).toBe(status)
    expect(await scripted.remains()).toEqual(before)
  }
})

describe("the real Claude Code", () => {
  let world: World
  beforeAll(async () => {
    world = await createWorld({ answer: () => "The only answer." })
  })
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]()
  })
  const bottle = (...args: string[]) =>
    onTerminal([...world.command, ...args], { cwd: world.cwd, env: world.env })

  async function ask(terminal: TerminalProgram, text: string): Promise<void> {
    await terminal.sees("bypass permissions on")
    terminal.type(text)
    await terminal.sees(text)
    terminal.type("\r")
  }

  test("draws its prompt, answers, is drawn anew for whoever comes back, and leaves nothing when it ends", async () => {
    {
      await using terminal = bottle("start", "worker", "--yes")
      await ask(terminal, "say apple")
      await terminal.sees("The only answer.")
      terminal.type(DETACH)
      expect(await terminal.exited).toBe(0)
    }
    const [, identity = ""] = (await world.ok("list", "active")).split("\t")
    {
      await using terminal = bottle("attach", identity)
      await terminal.sees("The only answer.")
      terminal.type("\u0003")
      await terminal.sees("again to exit")
      terminal.type("\u0003")
      expect(await terminal.exited).toBe(0)
    }
    // Nothing in the workspace and exit 0: there is nothing to resume.
    expect(await world.ok("list", "active")).toBe("")
  })
})
