/** `--prompt`: what is asked of the agent; how it is run then is in test/contract. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
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

test("the task reaches the agent as one argument, whatever is in it", async () => {
  const task = "-- 'quotes' \"double\" $HOME `date`\nsecond line \u00e4\u{1f600}"
  const result = await scripted.start('for last; do :; done; printf %s "$last"', { args: ["--prompt", task] })
  expect(result.stdout.trimStart()).toBe(task)
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
