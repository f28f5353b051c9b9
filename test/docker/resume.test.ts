/** `bottle resume` of a real Claude Code, and with images; what holds for every agent is in test/contract. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { type RunResult, run } from "../../src/runtime/spawn.ts"
import { isAgentTurn, type MessagesRequest, runThenTell, textsOf } from "../fixtures/messages-api.ts"
import { createScripted, type Remains, type Scripted } from "./scripted.ts"
import { createWorld, type World } from "./world.ts"

let scripted: Scripted
beforeAll(async () => {
  scripted = await createScripted()
})
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

const left = async (): Promise<Remains> => ({ ...(await scripted.remains()), networks: [] })

function resume(identity: string, script: string, ...args: string[]): Promise<RunResult> {
  return scripted.bottleWith({ AGENT_SCRIPT: script }, "resume", identity, "--yes", ...args)
}

/** A bottle with a file in its workspace and one in its home, kept. */
async function kept(): Promise<string> {
  const script = "echo first >/workspace/file; echo mine >~/own; exit 0"
  const result = await scripted.start(script, { args: ["--prompt", "x"] })
  const identity = /bottle resume (\S+)\n/.exec(result.stderr)?.[1]
  if (identity === undefined) throw new Error(`it was not kept:\n${result.stderr}`)
  return identity
}

describe("a resumed bottle", () => {
  test("whose start fails keeps its work and can be resumed again", async () => {
    const identity = await kept()
    const failed = await scripted.bottleWith(
      { AGENT_SCRIPT: "true", BOTTLE_SIDECAR_IMAGE: "no-such-image:at-all" },
      "resume",
      identity,
      "--yes",
      "--prompt",
      "x",
    )
    expect(failed.code).toBe(1)
    expect((await left()).containers).toEqual([])
    expect((await resume(identity, "cat file", "--prompt", "x")).stdout).toBe("first\n")
  })
})

describe("the real Claude Code", () => {
  let world: World
  beforeAll(async () => {
    world = await createWorld({ answer: answerTo })
  })
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]()
  })

  /** The first task makes a file by the real Bash tool; later ones are only answered. */
  function answerTo(request: MessagesRequest) {
    const first = JSON.stringify(request.messages).includes("pear")
      ? undefined
      : runThenTell("echo work >note")
    return first?.(request) ?? "Second answer."
  }

  function lastTurn(): MessagesRequest {
    const turns = world.api.requests
      .filter(({ path }) => path.startsWith("/v1/messages?") || path === "/v1/messages")
      .map(({ body }) => JSON.parse(body) as MessagesRequest)
      .filter(isAgentTurn)
    const last = turns.at(-1)
    if (last === undefined) throw new Error("the model was not asked")
    return last
  }

  const said = (request: MessagesRequest) =>
    request.messages.flatMap(({ content }) => textsOf(content)).join("\n")

  test("goes on with its conversation, and begins a new one where there is none", async () => {
    const first = await world.bottle("start", "worker", "--yes", "--prompt", "the word is apple")
    expect(first.code).toBe(0)
    const identity = /bottle resume (\S+)\n/.exec(first.stderr)?.[1] ?? "none"
    const second = await world.bottle("resume", identity, "--yes", "--prompt", "now say pear")
    expect(second.stdout).toBe("Second answer.\n")
    expect(said(lastTurn())).toContain("the word is apple")
    expect(said(lastTurn())).toContain("now say pear")

    // The conversation is gone, the workspace is not.
    const volume = `bottle-${identity}-home`
    await world.docker(
      ...[
        "run",
        "--rm",
        "--network=none",
        "--user=1000:1000",
        `--volume=${volume}:/h`,
        "--entrypoint=/bin/sh",
      ],
      ...[imageOf(identity), "-c", "rm -r /h/.claude/projects"],
    )
    const third = await world.bottle("resume", identity, "--yes", "--prompt", "once more pear")
    expect(third.code).toBe(0)
    expect(said(lastTurn())).not.toContain("apple")
    expect(said(lastTurn())).toContain("once more pear")
    const listed = await run(["docker", "volume", "ls", "--quiet"])
    expect(listed.stdout).toContain(`bottle-${identity}-workspace`)
  })

  function imageOf(identity: string): string {
    return JSON.parse(readFileSync(join(world.home, "state", identity, "metadata.json"), "utf8")).images.agent
  }
})
