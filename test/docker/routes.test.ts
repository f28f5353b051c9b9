/** The routes of a running bottle: shown, changed while the agent works, and left alone by a broken edit. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"
import { createScripted, type Scripted, STAY } from "./scripted.ts"

let scripted: Scripted
let identity: string

const CALL =
  "curl -s -o /dev/null -w '%{http_code}' -x http://127.0.0.1:9099 --cacert /run/bottle/sock/init/ca.pem"

beforeAll(async () => {
  scripted = await createScripted()
  identity = await scripted.detached(STAY)
}, 600_000)
afterAll(async () => {
  await scripted?.discardAll()
  await scripted?.[Symbol.asyncDispose]()
})

/** `bottle routes edit --file -` with that text on stdin. */
function edit(text: string) {
  const { world } = scripted
  return run([...world.command, "routes", "edit", identity, "--file", "-"], {
    cwd: world.cwd,
    env: world.env,
    input: text,
  })
}

const shown = () => scripted.world.ok("routes", "show", identity)
const status = () => scripted.inside(identity, `${CALL} https://api.anthropic.com/api/claude_code/settings`)

test("a route that is added holds at once, one that is removed is refused at once, each acknowledged", async () => {
  const { world } = scripted
  // The scripted bottle has no leave for the stand-in's private address: the name is allowed, the address is not.
  expect(await status()).toBe("403")
  const before = await shown()
  expect(before).toContain("api.anthropic.com")

  const opened = await edit(before.replace("private: []", `private: ["${world.hostAddress}/32"]`))
  expect(opened.stderr).toContain("generation 2")
  expect(opened.code).toBe(0)
  expect(await status()).toBe("404")

  const closed = await edit("routes: []\n")
  expect(closed.stderr).toContain("0 routes, generation 3")
  expect(await status()).toBe("403")
  const policy = await scripted.inside(
    identity,
    "curl -s -x http://127.0.0.1:9099 http://bottle.internal/policy",
  )
  expect(JSON.parse(policy)).toMatchObject({ generation: 3, routes: [] })
  const log = await world.ok("log", identity)
  expect(log).toContain("policy-load generation=3 routes=0")
})

const BROKEN: Record<string, string> = {
  "that is no YAML": "routes: [",
  "with an unknown key": "routes:\n  - host: a.example.test\n    pathes: [/]\n",
  "with a credential that was never loaded":
    "routes:\n  - host: a.example.test\n    auth: { scheme: bearer, credential: env:NOPE }\n",
  "with a host twice": "routes:\n  - host: a.example.test\n  - host: A.example.test\n",
}
for (const [what, text] of Object.entries(BROKEN)) {
  test(`an edit ${what} changes nothing and says what is wrong`, async () => {
    const before = await shown()
    const result = await edit(text)
    expect(result.code).toBe(1)
    expect(result.stderr).toContain("The routes were not changed")
    expect(await shown()).toBe(before)
  })
}

test("an edit in $EDITOR takes effect when it is saved, and a file that is left alone changes nothing", async () => {
  const { world } = scripted
  const terminal = (editor: string) => {
    world.env.EDITOR = editor
    return scripted.onTerminal("routes", "edit", identity)
  }
  await using untouched = terminal("true")
  await untouched.sees("Nothing changed")

  const script = join(world.cwd, "editor")
  await Bun.write(script, '#!/bin/sh\nprintf "routes:\\n  - host: added.example.test\\n" >"$1"\n')
  await run(["chmod", "+x", script])
  await using changed = terminal(script)
  await changed.sees("1 routes, generation")
  expect(await shown()).toContain("added.example.test")
})
