/** The real Claude Code, as it is installed on this machine, in a bubblewrap bottle. */
import { beforeAll, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { BUBBLEWRAP, onBackends, type World } from "../contract/world.ts"
import { claudeBinary } from "../fixtures/claude-binary.ts"
import { startConnectProxy } from "../fixtures/connect-proxy.ts"
import { type MessagesApi, startMessagesApi } from "../fixtures/messages-api.ts"
import { createTestAuthority } from "../fixtures/test-authority.ts"

const HOST = "api.anthropic.com"
/** Nobody's model says this by chance. */
const ANSWER = "Hello from the stand-in."
const INSTALL_MS = 600_000

let installed = ""
beforeAll(async () => {
  installed = await claudeBinary()
}, INSTALL_MS)

onBackends(BUBBLEWRAP, (world) => {
  test("does a task with a credential that it never holds, and goes on where it was", async () => {
    await using api = await startApi()
    await using proxy = await startConnectProxy({ [`${HOST}:443`]: api.port })
    const token = `sk-ant-oat01-${randomBytes(24).toString("hex")}`
    const env = { ...user(world(), api.authority, proxy.url), CLAUDE_CODE_OAUTH_TOKEN: token }

    const asked = await world().bottleWith(env, "start", "worker", "--yes", "--prompt", "the word is apple")
    expect(asked.stderr).not.toContain("error")
    expect(asked).toMatchObject({ code: 0, stdout: `${ANSWER}\n` })
    const turns = () => api.requests.filter(({ path }) => path.startsWith("/v1/messages"))
    expect(turns().length).toBeGreaterThan(0)
    for (const { headers } of turns()) expect(headers.authorization).toBe(`Bearer ${token}`)
    expect(asked.stdout + asked.stderr).not.toContain(token)

    // What it runs has the placeholder, and leaves a file behind, so that the bottle is kept.
    const ran = await world().bottleWith(env, "start", "worker", "--yes", "--prompt", "RUN pear")
    const identity = /bottle resume (worker-[0-9a-z]{5})/.exec(ran.stderr)?.[1] ?? ran.stderr
    const told = turns().at(-1)?.body ?? ""
    expect(told).toContain("the variable is set")
    expect(told).not.toContain(token)

    const resumed = await world().bottleWith(env, "resume", identity, "--yes", "--prompt", "once more")
    expect(resumed).toMatchObject({ code: 0, stdout: `${ANSWER}\n` })
    expect(turns().at(-1)?.body).toContain("RUN pear")
  })
})

/** Says one sentence, but for a task that begins with RUN, where it runs a command first. */
async function startApi(): Promise<MessagesApi & { authority: string }> {
  const authority = await createTestAuthority()
  const api = await startMessagesApi({
    ...(await authority.leaf([HOST])),
    answer: ({ messages }) => {
      const text = JSON.stringify(messages)
      if (!text.includes("RUN") || text.includes("tool_result")) return ANSWER
      const command = 'test -n "$CLAUDE_CODE_OAUTH_TOKEN" && echo the variable is set; date > work'
      return { tool: "Bash", input: { command, description: "looks around" } }
    },
  })
  return Object.assign(api, { authority: authority.cert })
}

/** A user who has installed Claude Code, and whose network is left by a proxy. */
function user(world: World, root: string, proxy: string): Record<string, string> {
  const tools = join(world.cwd, "tools")
  const versions = join(tools, "versions")
  mkdirSync(versions, { recursive: true })
  copyFileSync(installed, join(versions, "claude"))
  symlinkSync(join(versions, "claude"), join(tools, "claude"))
  const authority = join(world.cwd, "authority.pem")
  writeFileSync(authority, root)
  const bottle = join(world.home, "bottles", "dev.md")
  const route = `    - host: ${HOST}\n      private: ["127.0.0.1/32"]`
  writeFileSync(bottle, `---\nbackend: bubblewrap\negress:\n  routes:\n${route}\n---\n`)
  const agent = join(world.home, "agents", "worker.md")
  writeFileSync(agent, "---\nbottle: dev\n---\n")
  world.own(tools, versions, join(versions, "claude"), authority, bottle, agent)
  return {
    PATH: `${tools}:${world.env.PATH}`,
    BOTTLE_EXTRA_CA_CERTS: authority,
    BOTTLE_EXTRA_HOSTS: `${HOST}=127.0.0.1`,
    BOTTLE_UPSTREAM_PROXY: proxy,
  }
}
