/** What the agent is handed, and who else has it: the contract, what its bottle names, and nothing of the host's. */
import { beforeEach, describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { contractEnv } from "../../src/bottle/contract.ts"
import { allProcesses, described, read } from "./objects.ts"
import { CANARY, onEveryBackend } from "./world.ts"

const fresh = (name: string) => `${name}-${randomBytes(16).toString("hex")}`

onEveryBackend((world) => {
  test("the agent's environment is the contract and what its bottle names, and nothing else", async () => {
    world().manifest("sh", `env: { CI: "1", FROM_HOST: "\${SECRET_OF_HOST}" }`)
    const value = fresh("host")
    const result = await world().start("cat /proc/$$/environ; :", { env: { SECRET_OF_HOST: value } })
    const seen = Object.fromEntries(
      result.stdout
        .split("\0")
        .filter(Boolean)
        .map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
    )
    expect(seen).toEqual({ ...contractEnv({ gitGate: false, supervise: false }), CI: "1", FROM_HOST: value })
  })

  test("no process and no file in the sandbox has a variable of the host's", async () => {
    const look =
      "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'; find / -xdev -type f -user 1000 -exec cat {} + 2>/dev/null"
    const { stdout } = await world().start(look)
    expect(stdout).toContain("HTTPS_PROXY=http://127.0.0.1:9099")
    expect(stdout).not.toContain(CANARY.name)
    expect(stdout).not.toContain(CANARY.value)
  })

  test("the agent has no way to the files of its caller's home, nor to bottle's own", async () => {
    const { home, env } = world()
    const places = [home, `${home}/bottles`, `${home}/state`, env.HOME].join(" ")
    const script = `for place in ${places}; do [ -e $place ] && echo "sees $place"; done; echo looked`
    expect((await world().start(script)).stdout).toBe("looked\n")
  })

  test("what is asked at start is hidden as it is typed, and reaches the agent alone", async () => {
    world().manifest("sh", 'env: { PASSWORD: "?Database password" }')
    const secret = fresh("typed")
    await using terminal = world().terminal(
      "stty -echo; printf 'has %s' $(printenv PASSWORD | wc -c); sleep infinity; :",
    )
    await terminal.sees("Database password (PASSWORD):")
    terminal.type(`${secret}\r`)
    expect(await terminal.sees(`has ${secret.length + 1}`)).not.toContain(secret)
    const [, identity = "none"] = (await world().ok("list", "active")).split("\t")
    await world().until(identity, "pgrep -x sleep >/dev/null")
    const having = allProcesses().filter((pid) => {
      const said = `${read(`/proc/${pid}/environ`)}${read(`/proc/${pid}/cmdline`)}`
      return said.includes(secret)
    })
    expect(having.map((pid) => described(pid)?.args.split(" ").at(-1))).toEqual([":", "infinity"])
  })

  describe("a bottle with secrets", () => {
    const token = fresh("token")
    const fromHost = fresh("host")
    const literal = fresh("literal")
    let identity = ""

    beforeEach(async () => {
      const route = "{ host: api.example.com, auth: { scheme: bearer, token: { env: API_TOKEN } } }"
      world().manifest(
        "sh",
        `env: { LITERAL: ${literal}, FROM_HOST: "\${SECRET_OF_HOST}" }\negress: { routes: [${route}] }`,
      )
      const env = { API_TOKEN: token, SECRET_OF_HOST: fromHost }
      identity = await world().detached("sleep infinity; :", { env })
      await world().until(identity, "pgrep -x sleep >/dev/null")
    })

    test("has the credential nowhere in the sandbox", async () => {
      const look =
        "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'; find / -xdev -type f -user 1000 -exec cat {} + 2>/dev/null || :"
      const seen = await world().inside(identity, look)
      expect(seen).toContain(fromHost)
      expect(seen).not.toContain(token)
    })

    test("has none of them in any process list of the host, and in the agent's environment its own alone", () => {
      const arguments_ = allProcesses().flatMap((pid) => described(pid) ?? [])
      for (const { args } of arguments_) {
        for (const secret of [token, fromHost, literal]) expect(args.includes(secret)).toBe(false)
      }
      const withEnv = arguments_.map(({ pid, args }) => ({ args, environ: read(`/proc/${pid}/environ`) }))
      expect(withEnv.filter(({ environ }) => environ.includes(token))).toEqual([])
      const having = withEnv.filter(({ environ }) => environ.includes(fromHost) || environ.includes(literal))
      expect(having).toHaveLength(2)
      for (const { args } of having) expect(args).toMatch(/^(\S*bash -c sleep infinity; :|sleep infinity)$/)
    })

    test("tells none of them in its words, its list, its log and its routes", async () => {
      const told = await Promise.all([
        world().bottle("list", "active", "--format", "json"),
        world().bottle("log", identity, "--format", "json"),
        world().bottle("routes", "show", identity),
      ])
      told.push(await world().bottle("stop", identity))
      const text = told.map(({ stdout, stderr }) => stdout + stderr).join("\n")
      expect(text).toContain("api.example.com")
      for (const secret of [token, fromHost, literal]) expect(text).not.toContain(secret)
    })
  })
})
