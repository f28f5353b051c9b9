/** What goes wrong ends with one clear message and the designed exit status, and leaves nothing. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { type RunResult, run } from "../../src/runtime/spawn.ts"
import { createScripted, NOTHING, type Remains, type Scripted, STAY } from "./scripted.ts"

let scripted: Scripted
beforeAll(async () => {
  scripted = await createScripted()
  // The images are there, so that what fails below is what is meant to.
  await scripted.start("true", { args: ["--prompt", "x"] })
}, 600_000)
afterAll(async () => {
  await scripted?.[Symbol.asyncDispose]()
})
afterEach(() => scripted.discardAll())

const left = async (): Promise<Remains> => ({ ...(await scripted.remains()), networks: [] })

/** One message: it begins with `error:`, and has a reason or a next step, and no stack trace. */
function expectOneMessage(result: RunResult, status = 1): void {
  expect(result.code).toBe(status)
  expect(result.stdout).toBe("")
  expect(result.stderr.match(/^error: /gm)).toHaveLength(1)
  expect(result.stderr).toMatch(/^ {2}next \S/m)
  expect(result.stderr).not.toContain("fault of bottle itself")
  expect(result.stderr).not.toMatch(/^ {4,}at /m)
}

function startWith(env: Record<string, string>, script = "true"): Promise<RunResult> {
  return scripted.start(script, { args: ["--prompt", "x"], env })
}

/** A folder with programs that a test makes. */
function programs(name: string, scripts: Record<string, string>): string {
  const folder = join(scripted.world.cwd, name)
  mkdirSync(folder, { recursive: true })
  for (const [program, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, program), `#!/bin/sh\n${script}\n`)
    chmodSync(join(folder, program), 0o755)
  }
  return folder
}

/** A small image of the test's own on the base that is here. */
async function image(name: string, ...lines: string[]): Promise<{ tag: string } & AsyncDisposable> {
  const tag = `bottle-test-failures:${name}-${process.pid}`
  const dockerfile = [`FROM ${process.env.BOTTLE_BASE_DEBIAN}`, ...lines].join("\n")
  const built = await run(["docker", "buildx", "build", "--load", "--tag", tag, "-"], { input: dockerfile })
  if (built.code !== 0) throw new Error(built.stderr)
  return {
    tag,
    [Symbol.asyncDispose]: async () => void (await run(["docker", "image", "rm", "--force", tag])),
  }
}

describe("without a usable Docker", () => {
  test("no docker on PATH", async () => {
    const result = await startWith({ PATH: "/nonexistent" })
    expectOneMessage(result)
    expect(result.stderr).toContain("`docker`")
    expect(await left()).toEqual(NOTHING)
  })

  test("nobody at Docker's socket", async () => {
    const result = await startWith({ DOCKER_HOST: "unix:///nonexistent.sock" })
    expectOneMessage(result)
    expect(result.stderr).toContain("Docker")
    expect(result.stderr).not.toContain(scripted.world.token)
  })

  test("a Docker that hangs is given up within seconds", async () => {
    const socket = join(scripted.world.cwd, "silent.sock")
    // It takes every connection, and never says a word.
    const silent = createServer(() => {})
    await new Promise<void>((listening) => silent.listen(socket, listening))
    await using _ = { [Symbol.asyncDispose]: async () => void silent.close() }
    const from = performance.now()
    const result = await startWith({ DOCKER_HOST: `unix://${socket}` })
    expect(performance.now() - from).toBeLessThan(15_000)
    expectOneMessage(result)
    expect(result.stderr).toContain("did not answer within")
  })

  test("a Compose that is too old is told with its version and the one that is needed", async () => {
    const plugins = join(programs("old/cli-plugins", { "docker-compose": composePlugin("2.5.0") }), "..")
    const result = await startWith({ DOCKER_CONFIG: plugins })
    expectOneMessage(result)
    expect(result.stderr).toContain("2.5.0")
    expect(result.stderr).toMatch(/Install Docker Compose 2\.\d+/)
  })

  test("a Docker without Compose is told with the package to install", async () => {
    const real = Bun.which("docker")
    const docker = `[ "$1" = compose ] && { echo "docker: 'compose' is not a docker command." >&2; exit 1; }; exec ${real} "$@"`
    const PATH = `${programs("without", { docker })}:${scripted.world.env.PATH}`
    const result = await startWith({ PATH })
    expectOneMessage(result)
    expect(result.stderr).toContain("docker-compose-plugin")
  })

  /** What the docker command asks of a plugin before it calls it. */
  function composePlugin(version: string): string {
    const metadata = JSON.stringify({
      SchemaVersion: "0.1.0",
      Vendor: "test",
      Version: version,
      ShortDescription: "x",
    })
    return `[ "$1" = docker-cli-plugin-metadata ] && { echo '${metadata}'; exit 0; }; echo ${version}`
  }
})

describe("a manifest that cannot be used", () => {
  const faults: [string, (name: string) => void, string[]][] = [
    [
      "a token that is not set",
      () =>
        scripted.world.bottleFile(
          "fault",
          "egress: { routes: [{ host: a.example, auth: { scheme: bearer, token: { env: NOT_SET_ANYWHERE } } }] }",
        ),
      ["NOT_SET_ANYWHERE", "a.example"],
    ],
    [
      "a duplicate key",
      () => scripted.world.bottleFile("fault", "supervise: false\nsupervise: false"),
      ["supervise", "fault.md", "3"],
    ],
    [
      "a cyclic extends",
      () => {
        scripted.world.bottleFile("fault", "extends: [other]")
        scripted.world.bottleFile("other", "extends: [fault]")
      },
      ["fault", "other", "extends"],
    ],
    [
      "an agent that names an unknown bottle",
      () => scripted.world.agentFile("faulty", "bottle: no-such-bottle"),
      ["no-such-bottle", "faulty.md"],
    ],
    [
      "a manifest of 10 MB",
      () => scripted.world.bottleFile("fault", `env: { A: ${"x".repeat(10 * 1024 * 1024)} }`),
      ["fault.md"],
    ],
    [
      "a skill that is missing",
      () => scripted.world.agentFile("faulty", "bottle: scripted\nskills: [no-such-skill]"),
      ["no-such-skill"],
    ],
    [
      "a host variable that is not set",
      () => scripted.world.bottleFile("fault", `env: { A: "\${NOT_SET_EITHER}" }`),
      ["NOT_SET_EITHER", "env.A"],
    ],
    [
      "a variable of the contract",
      () => scripted.world.bottleFile("fault", "env: { HTTPS_PROXY: http://elsewhere }"),
      ["HTTPS_PROXY"],
    ],
  ]
  for (const [what, write, words] of faults) {
    test(`${what} ends before anything starts, in a message of bounded length`, async () => {
      scripted.world.agentFile("faulty", "bottle: fault")
      write(what)
      const result = await scripted.bottleWith(
        { AGENT_SCRIPT: "true" },
        "start",
        "faulty",
        "--yes",
        "--prompt",
        "x",
      )
      expectOneMessage(result)
      for (const word of words) expect(result.stderr).toContain(word)
      expect(result.stderr.length).toBeLessThan(4096)
      expect(await left()).toEqual(NOTHING)
    })
  }

  test("an unknown agent is told with those there are", async () => {
    const result = await scripted.bottleWith({}, "start", "workr", "--yes", "--prompt", "x")
    expectOneMessage(result, result.code === 2 ? 2 : 1)
    expect(result.stderr).toContain("worker")
  })
})

describe("a machine that is short of something", () => {
  test("a disk that is full where the state is: one message with the place, and nothing is left in Docker", async () => {
    const { world } = scripted
    const home = join(world.cwd, "small-home")
    mkdirSync(home)
    const mounted = await run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", home])
    expect(mounted.stderr).toBe("")
    try {
      const copied = await run(["cp", "-r", join(world.home, "bottles"), join(world.home, "agents"), home])
      expect(copied.code).toBe(0)
      // All that is left is taken.
      await run(["bash", "-c", `cat /dev/zero >${home}/filler`])
      const result = await startWith({ BOTTLE_HOME: home })
      expectOneMessage(result)
      expect(result.stderr).toContain(home)
      expect(result.stderr).toMatch(/space/)
      const ours = await world.docker("ps", "--all", "--format", "{{.Names}}")
      expect(ours).not.toContain("bottle-scripted-")
    } finally {
      await run(["umount", home])
    }
  })
})

describe("parts that do not work", () => {
  test("a gateway that never gets ready is given up within a bounded time, and nothing is left", async () => {
    await using hangs = await image("hangs", 'ENTRYPOINT ["/bin/sleep", "infinity"]', "CMD []")
    const from = performance.now()
    const result = await startWith({ BOTTLE_SIDECAR_IMAGE: hangs.tag })
    expect(performance.now() - from).toBeLessThan(60_000)
    expectOneMessage(result)
    expect(await left()).toEqual(NOTHING)
  })

  test("a gateway that ends at once is told with its own words, and nothing is left", async () => {
    await using dies = await image(
      "dies",
      'ENTRYPOINT ["/bin/sh", "-c", "echo gateway-broke-here >&2; exit 9"]',
      "CMD []",
    )
    const from = performance.now()
    const result = await startWith({ BOTTLE_SIDECAR_IMAGE: dies.tag })
    expect(performance.now() - from).toBeLessThan(30_000)
    expectOneMessage(result)
    expect(result.stderr).toContain("gateway-broke-here")
    expect(await left()).toEqual(NOTHING)
  })

  test("a sandbox whose process 1 dies at once is told with its status, and nothing is left", async () => {
    const reference = (await scripted.detached(STAY)) && (await agentImage())
    const inner = await scripted.world.docker(
      "inspect",
      "--format",
      '{{index .Config.Labels "io.bottle.inner"}}',
      reference,
    )
    await using dies = await image(
      "inner",
      `LABEL io.bottle.inner=${inner}`,
      'ENTRYPOINT ["/bin/sh", "-c", "exit 9"]',
      "CMD []",
    )
    await scripted.discardAll()
    const from = performance.now()
    const result = await startWith({ BOTTLE_IMAGE: dies.tag })
    expect(performance.now() - from).toBeLessThan(30_000)
    expectOneMessage(result)
    expect(result.stderr).toContain("sandbox ended before its agent started")
    expect(result.stderr).toContain("9")
    expect(await left()).toEqual(NOTHING)
  })

  async function agentImage(): Promise<string> {
    const [name = ""] = (await scripted.remains()).containers
    return scripted.world.docker("inspect", "--format", "{{.Config.Image}}", name)
  }

  test("an agent that is not in the image is told by its name, and nothing is left", async () => {
    const folder = join(scripted.world.home, "..", "image-without")
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, "Dockerfile"), "ARG BASE_NODE\nFROM $BASE_NODE\n")
    scripted.world.bottleFile("without", `agent_provider: { dockerfile: ${join(folder, "Dockerfile")} }`)
    scripted.world.agentFile("without", "bottle: without")
    const result = await scripted.bottleWith({}, "start", "without", "--yes", "--prompt", "x")
    expectOneMessage(result)
    expect(result.stderr).toContain("claude")
    expect(await left()).toEqual(NOTHING)
  })

  test("an egress that cannot start is given up within a bounded time, and nothing is left", async () => {
    const gateway = (await scripted.detached(STAY)) && (await gatewayImage())
    await scripted.discardAll()
    const tag = `bottle-test-failures:egress-${process.pid}`
    const dockerfile = `FROM ${gateway}\nRUN rm /usr/bin/setpriv\n`
    const built = await run(["docker", "buildx", "build", "--load", "--tag", tag, "-"], { input: dockerfile })
    expect(built.code).toBe(0)
    await using _ = {
      [Symbol.asyncDispose]: async () => void (await run(["docker", "image", "rm", "--force", tag])),
    }
    const from = performance.now()
    const result = await startWith({ BOTTLE_SIDECAR_IMAGE: tag })
    expect(performance.now() - from).toBeLessThan(60_000)
    expectOneMessage(result)
    expect(result.stderr).toContain("[egress] ended at its start")
    expect(await left()).toEqual(NOTHING)
  })

  async function gatewayImage(): Promise<string> {
    const name =
      (await scripted.remains()).containers.find((container) => container.endsWith("-sidecars")) ?? ""
    return scripted.world.docker("inspect", "--format", "{{.Config.Image}}", name)
  }
})

describe("a home that is not as it should be", () => {
  test("a state folder that is a link to elsewhere is refused, and nothing is written there", async () => {
    const { world } = scripted
    const elsewhere = join(world.cwd, "elsewhere")
    const home = join(world.cwd, "linked-home")
    mkdirSync(elsewhere)
    mkdirSync(home, { mode: 0o700 })
    await run(["cp", "-r", join(world.home, "bottles"), join(world.home, "agents"), home])
    symlinkSync(elsewhere, join(home, "state"))
    const result = await startWith({ BOTTLE_HOME: home })
    expectOneMessage(result)
    expect(result.stderr).toContain("symbolic link")
    expect((await run(["ls", "-A", elsewhere])).stdout).toBe("")
  })
})
