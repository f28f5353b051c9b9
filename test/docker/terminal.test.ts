/** A real Claude Code on a terminal; what holds for every agent is in test/contract. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { onTerminal, type TerminalProgram } from "../fixtures/terminal.ts"
import { createWorld, type World } from "./world.ts"

/** ctrl-\ d */
const DETACH = "\u001cd"

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
