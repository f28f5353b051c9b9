/** Processes of a running bottle that are killed: what can go on goes on, everything else ends and keeps its work. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { createTestAuthority } from "../fixtures/test-authority.ts"
import { loopbackAddress, type Origin, startHttpsOrigin } from "../fixtures/tls-origin.ts"
import { allProcesses, docker } from "./objects.ts"
import { BUBBLEWRAP, keptIdentity, onBackends, onEveryBackend, STAY, type World } from "./world.ts"

/** Arguments by which a role of a bottle is known; what only starts or watches it has others. */
const ROLES = {
  egress: /^\/opt\/bottle\/.* egress$/,
  inner: /^\/opt\/bottle\/.*inner(\.js)?$/,
  keeper: / keeper$/,
}

async function pidOf(world: World, identity: string, role: keyof typeof ROLES): Promise<number> {
  const found = (await world.objects.processes(identity)).filter(({ args }) => ROLES[role].test(args))
  expect(found).toHaveLength(1)
  return found[0]?.pid ?? 0
}

/** Resolves when none of these processes is there; the test's own bound ends a wait that is in vain. */
async function untilGone(pids: number[]): Promise<void> {
  while (allProcesses().some((pid) => pids.includes(pid))) await Bun.sleep(20)
}

onEveryBackend((world) => {
  describe("egress", () => {
    const token = `token-${randomBytes(16).toString("hex")}`
    const seen: (string | undefined)[] = []
    let origin: Origin
    let network = ""
    let env: Record<string, string> = {}

    beforeAll(async () => {
      const authority = await createTestAuthority()
      let address = loopbackAddress()
      if (world().kind.backend === "docker") {
        // An address of this machine that containers reach.
        network = `bottle-contract-${randomBytes(6).toString("hex")}`
        await docker("network", "create", network)
        const format = "{{(index .IPAM.Config 0).Gateway}}"
        address = await docker("network", "inspect", network, "--format", format)
      }
      const answer: Parameters<typeof startHttpsOrigin>[2] = (request, response) => {
        seen.push(request.headers.authorization)
        response.end("answered")
      }
      origin = await startHttpsOrigin(authority, ["api.example.com"], answer, { address })
      const ca = join(world().cwd, "ca.pem")
      const build = process.env.BOTTLE_EXTRA_CA_CERTS
      writeFileSync(ca, `${build === undefined ? "" : await Bun.file(build).text()}\n${authority.cert}`)
      env = {
        BOTTLE_EXTRA_CA_CERTS: ca,
        BOTTLE_EXTRA_HOSTS: `api.example.com=${address}`,
        API_TOKEN: token,
      }
    })
    afterAll(async () => {
      await origin?.[Symbol.asyncDispose]()
      if (network !== "") await docker("network", "rm", network)
    })

    test("is there again at once when it is killed, with its rules and its credentials", async () => {
      const route = `{ host: api.example.com, auth: { scheme: bearer, token: { env: API_TOKEN } }, private: [${origin.address}/32] }`
      world().manifest("sh", `egress: { routes: [${route}] }`)
      const identity = await world().detached(STAY, { env })
      const call = "curl -sf --max-time 2 https://api.example.com/"
      expect(await world().inside(identity, call)).toBe("answered")
      const before = await pidOf(world(), identity, "egress")
      process.kill(before, "SIGKILL")
      const killed = performance.now()
      await untilGone([before])
      await world().until(identity, `[ "$(${call})" = answered ]`)
      expect(performance.now() - killed).toBeLessThan(2000)
      expect(await pidOf(world(), identity, "egress")).not.toBe(before)
      expect(seen).toEqual([`Bearer ${token}`, `Bearer ${token}`])
      expect(
        await world().inside(identity, "curl -so /dev/null -w '%{http_code}' https://example.org/"),
      ).toBe("403")
      const active = (await world().ok("list", "active")).split("\t")
      expect(active.slice(3)).toEqual(["agent,egress"])
    })
  })

  test("the sandbox's own first program: the bottle ends, and its work is kept", async () => {
    await using bottle = world().spawn(`echo work >note; echo works; ${STAY}`)
    await firstLine(bottle.stdout)
    const { running } = await world().remains()
    const identity = running[0] ?? "none"
    const all = (await world().objects.processes(identity)).map(({ pid }) => pid)
    const errors = text(bottle.stderr)
    process.kill(await pidOf(world(), identity, "inner"), "SIGKILL")
    expect(await bottle.exited).not.toBe(0)
    expect(keptIdentity({ code: 0, stdout: "", stderr: await errors })).toBe(identity)
    await untilGone(all)
    expect((await world().resume(identity, "cat note")).stdout).toBe("work\n")
  })
})

onBackends(BUBBLEWRAP, (world) => {
  test("the keeper: everything of the bottle ends with it, and its work is kept and told", async () => {
    await using bottle = world().spawn(`echo work >note; echo works; ${STAY}`)
    await firstLine(bottle.stdout)
    const [identity = "none"] = (await world().remains()).running
    const all = (await world().objects.processes(identity)).map(({ pid }) => pid)
    const errors = text(bottle.stderr)
    process.kill(await pidOf(world(), identity, "keeper"), "SIGKILL")
    expect(await bottle.exited).toBe(137)
    const told = await errors
    expect(told).toContain("how its agent ended was not seen")
    expect(keptIdentity({ code: 0, stdout: "", stderr: told })).toBe(identity)
    await untilGone(all)
    expect((await world().remains()).running).toEqual([])
    expect((await world().resume(identity, "cat note")).stdout).toBe("work\n")
  })

  test("the keeper of a bottle nobody watches: it is listed as ended, and cleanup keeps its work", async () => {
    const identity = await world().detached(`echo work >note; ${STAY}`)
    await world().until(identity, "[ -s /workspace/note ]")
    const all = (await world().objects.processes(identity)).map(({ pid }) => pid)
    process.kill(await pidOf(world(), identity, "keeper"), "SIGKILL")
    await untilGone(all)
    await world().ended(identity)
    const cleaned = await world().bottle("cleanup", "--yes")
    expect(cleaned.stderr).toContain(`bottle resume ${identity}`)
    expect((await world().resume(identity, "cat note")).stdout).toBe("work\n")
  })
})

/** Reads until there is a whole line. */
async function firstLine(stream: NodeJS.ReadableStream): Promise<void> {
  let heard = ""
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    heard += chunk.toString()
    if (heard.includes("\n")) return
  }
  throw new Error(`it ended with: ${heard}`)
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  let heard = ""
  for await (const chunk of stream as AsyncIterable<Buffer>) heard += chunk.toString()
  return heard
}
