import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { type BottleImages, ensureImages, type ImageRequest } from "../../src/image/ensure.ts"
import { CONTENT_LABEL, INNER_LABEL, ROLE_LABEL } from "../../src/image/plan.ts"
import { AGENT_HOME, CA_BUNDLE, LIFELINE_SOCKET } from "../../src/policy/paths.ts"
import type { BottleError } from "../../src/runtime/error.ts"
import { run, spawnStreaming } from "../../src/runtime/spawn.ts"

/** Sets a test's images apart from those of others, and from what the build cache holds */
const nonce = randomBytes(6).toString("hex")
const env = { ...process.env, BOTTLE_IMAGE: "", BOTTLE_SIDECAR_IMAGE: "" }
let images: BottleImages
const made = new Set<string>()

async function ensure(request: Partial<ImageRequest> = {}, progress: string[] = []): Promise<BottleImages> {
  return ensureImages(
    { template: "claude", env, ...request },
    { docker: ["docker"], progress: (line) => progress.push(line) },
  )
}

async function docker(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(["docker", ...args])
  if (code !== 0) throw new Error(`docker ${args.join(" ")}: ${stderr}`)
  return stdout
}

/** Runs a shell line in an image, without a network, and hands back what it wrote. */
function inside(image: string, line: string, ...options: string[]): Promise<string> {
  return docker("run", "--rm", "--network=none", ...options, "--entrypoint=/bin/sh", image, "-c", line)
}

async function folderWith(files: Record<string, string>) {
  const path = await mkdtemp(join(tmpdir(), "image-"))
  // The agent's user reads it where it is mounted.
  await chmod(path, 0o755)
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text)
  return {
    path,
    dockerfile: join(path, "Dockerfile"),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

/** Starts an image's process 1 with a lifeline of ours, and hands back the first thing that it says there. */
async function helloOf(image: string): Promise<string> {
  await using folder = await folderWith({})
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const server = createServer((socket) => socket.once("data", (data) => resolve(String(data))))
  await new Promise<void>((listening) => server.listen(join(folder.path, "lifeline.sock"), listening))
  await chmod(join(folder.path, "lifeline.sock"), 0o777)
  await using sandbox = spawnStreaming([
    ...["docker", "run", "--rm", "--network=none", `--name=bottle-test-${nonce}`],
    ...[`--volume=${folder.path}:${dirname(LIFELINE_SOCKET)}`, image],
  ])
  // An image that ends without a word must not leave the test waiting.
  sandbox.exited.then((code) => reject(new Error(`process 1 ended with ${code}`)), reject)
  try {
    return await promise
  } finally {
    await docker("kill", `bottle-test-${nonce}`)
    server.close()
  }
}

/** Builds a small image of the test's own. */
async function build(tag: string, dockerfile: string): Promise<string> {
  const built = await run(["docker", "buildx", "build", "--load", "--tag", tag, "-"], { input: dockerfile })
  if (built.code !== 0) throw new Error(built.stderr)
  made.add(tag)
  return tag
}

async function failure(promise: Promise<unknown>): Promise<BottleError> {
  return promise.then(
    () => {
      throw new Error("it did not fail")
    },
    (error) => error,
  )
}

beforeAll(async () => {
  images = await ensure()
})

afterAll(async () => {
  const labelled = await docker("image", "ls", "--quiet", "--filter", `label=bottle.test=${nonce}`)
  const all = [...made, ...new Set(labelled.split("\n").filter((id) => id !== ""))]
  if (all.length > 0) await docker("image", "rm", "--force", ...all)
})

test("what is there is found by its content and not built again", async () => {
  const progress: string[] = []
  expect(await ensure({}, progress)).toEqual(images)
  expect(progress).toEqual([])
  const labels = JSON.parse(
    await docker("image", "inspect", "--format={{json .Config.Labels}}", images.agent.id),
  )
  expect(images.agent.reference).toEndWith(labels[CONTENT_LABEL].slice(0, 12))
  expect(labels[ROLE_LABEL]).toBe("agent")
  expect(labels[INNER_LABEL]).toMatch(/^[0-9a-f]{12}$/)
})

describe("the agent's image", () => {
  test("has the pinned Claude Code and Bun", async () => {
    const pinned = async (path: string) =>
      Object.values(
        JSON.parse(await readFile(path, "utf8")).optionalDependencies as Record<string, string>,
      )[0]!
    const versions = await inside(images.agent.reference, "claude --version; /opt/bottle/bun --version")
    expect(versions).toContain(await pinned("images/claude/package.json"))
    expect(versions).toContain(await pinned("images/bun/package.json"))
  })

  test("runs as a user agent with uid 1000, whom the base called otherwise", async () => {
    expect(await inside(images.agent.reference, "id -u; id -g; id -un; echo $HOME; pwd")).toBe(
      `1000\n1000\nagent\n${AGENT_HOME}\n/\n`,
    )
    // The control: the base gives this uid to someone else.
    const base = process.env.BOTTLE_BASE_NODE ?? ""
    expect(await inside(base, "id -un", "--user=1000")).toBe("node\n")
  })

  test("lets the agent write to its home and workspace, and to nothing of ours", async () => {
    const written = await inside(
      images.agent.reference,
      "for f in /workspace ~ /opt/bottle /usr/local/bin /etc; do touch $f/x 2>/dev/null && echo $f; done; true",
    )
    expect(written).toBe(`/workspace\n${AGENT_HOME}\n`)
  })

  test("reads the bottle's certificates where programs look for the system's", async () => {
    expect(await inside(images.agent.reference, "readlink /etc/ssl/certs/ca-certificates.crt")).toBe(
      `${CA_BUNDLE}\n`,
    )
    const roots = await inside(images.agent.reference, "grep -c BEGIN /opt/bottle/system-roots.pem")
    expect(Number(roots)).toBeGreaterThan(100)
  })

  test("starts inner, which looks for its gateway", async () => {
    expect(await helloOf(images.agent.reference)).toContain('"type"')
  })

  test("starts Bun so that a bunfig.toml and .env which the agent wrote have no effect", async () => {
    await using folder = await folderWith({
      "bunfig.toml": `preload = ["./evil.ts"]\n`,
      "evil.ts": `console.log("preloaded")\n`,
      ".env": "PLANTED=planted\n",
      "plain.ts": `console.log("ran", process.env.PLANTED)\n`,
    })
    const entry: string[] = JSON.parse(
      await docker("image", "inspect", "--format={{json .Config.Entrypoint}}", images.agent.id),
    )
    expect(entry.at(-1)).toBe("/opt/bottle/inner.js")
    const ours = entry.slice(0, -1).join(" ")
    const mount = [`--volume=${folder.path}:/workspace:ro`, "--workdir=/workspace"]
    expect(await inside(images.agent.reference, `${ours} plain.ts`, ...mount)).toBe("ran undefined\n")
    // The control: without our options, Bun does what the folder says.
    const control = await inside(images.agent.reference, `${entry[0]} plain.ts`, ...mount)
    expect(control).toBe("preloaded\nran planted\n")
  })
})

describe("the gateway's image", () => {
  test("starts our bundle, with init as its default part", async () => {
    const unknown = await run([
      "docker",
      "run",
      "--rm",
      "--network=none",
      images.gateway.reference,
      "nothing",
    ])
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toContain("unknown part")
    expect(await docker("image", "inspect", "--format={{json .Config.Cmd}}", images.gateway.id)).toBe(
      '["init"]\n',
    )
  })

  test("has a user for each daemon, and setpriv to become it", async () => {
    const line = "for u in 9099 9420 9100; do setpriv --reuid $u --regid $u --clear-groups id -un; done"
    expect(await inside(images.gateway.reference, line)).toBe("egress\ngit-gate\nsupervise\n")
  })

  test("has the system's roots", async () => {
    const roots = await inside(images.gateway.reference, "grep -c BEGIN /opt/bottle/system-roots.pem")
    expect(Number(roots)).toBeGreaterThan(100)
  })
})

describe("extra roots", () => {
  test("serve the build and are in no layer of what it makes", async () => {
    const marker = `marker-${nonce}`
    await using folder = await folderWith({
      "roots.pem": `# ${marker}\n${await readFile(process.env.BOTTLE_EXTRA_CA_CERTS!, "utf8")}`,
    })
    const roots = join(folder.path, "roots.pem")
    // A base of its own, so that the build's cache cannot answer for the steps that use the roots.
    const base = await build(`bottle-test-roots:${nonce}`, freshBase())
    const built = await ensure({ env: { ...env, BOTTLE_BASE_DEBIAN: base, BOTTLE_EXTRA_CA_CERTS: roots } })
    made.add(built.gateway.reference)
    const search = `grep -rlI ${marker} / --exclude-dir=proc --exclude-dir=sys 2>/dev/null; true`
    expect(await inside(built.gateway.reference, search)).toBe("")
    // The control: the same search finds a copy that a build did leave behind.
    const leak = await run(
      [
        "docker",
        "buildx",
        "build",
        "--load",
        "--tag",
        `bottle-test-leak:${nonce}`,
        "--secret",
        `id=extra_ca,src=${roots}`,
        "-",
      ],
      { input: `FROM ${base}\nRUN --mount=type=secret,id=extra_ca cp /run/secrets/extra_ca /left.pem\n` },
    )
    expect(leak.code).toBe(0)
    made.add(`bottle-test-leak:${nonce}`)
    expect(await inside(`bottle-test-leak:${nonce}`, search)).toBe("/left.pem\n")
  })

  test("that are no certificates are refused before anything is built", async () => {
    await using folder = await folderWith({
      Dockerfile: `FROM scratch\nLABEL a=${nonce}\n`,
      "no.pem": "hello",
    })
    for (const [path, why] of [
      [join(folder.path, "no.pem"), "PEM"],
      [join(folder.path, "missing.pem"), "ENOENT"],
    ] as const) {
      const error = await failure(
        ensure({ dockerfile: folder.dockerfile, env: { ...env, BOTTLE_EXTRA_CA_CERTS: path } }),
      )
      expect(error.what).toContain("BOTTLE_EXTRA_CA_CERTS")
      expect(error.why).toContain(why)
    }
  })
})

describe("a Dockerfile of the user's", () => {
  test("may stand on our image, gets the inner layer, and is built again when what it copies changes", async () => {
    await using folder = await folderWith({
      Dockerfile: `ARG BOTTLE_AGENT\nFROM \${BOTTLE_AGENT}\nLABEL bottle.test=${nonce}\nCOPY note /note\n`,
      note: "first",
    })
    const progress: string[] = []
    const first = await ensure({ dockerfile: folder.dockerfile }, progress)
    expect(progress.join("\n")).toContain("building bottle-custom:")
    expect(first.gateway).toEqual(images.gateway)
    expect(await inside(first.agent.reference, "cat /note; claude --version; id -un")).toMatch(
      /^first.*Claude Code.*agent\n$/s,
    )
    expect(await ensure({ dockerfile: folder.dockerfile })).toEqual(first)
    await writeFile(join(folder.path, "note"), "second note")
    const second = await ensure({ dockerfile: folder.dockerfile })
    expect(second.agent.id).not.toBe(first.agent.id)
    expect(await inside(second.agent.reference, "cat /note")).toBe("second note")
  })

  test("on a bare base gets the user, the folders and process 1", async () => {
    const base = process.env.BOTTLE_BASE_DEBIAN ?? ""
    await using folder = await folderWith({ Dockerfile: `FROM ${base}\nLABEL bottle.test=${nonce}\n` })
    const { agent } = await ensure({ dockerfile: folder.dockerfile })
    expect(
      await inside(agent.reference, "id -un; ls -ld /workspace | cut -c1-10; touch ~/x && echo ok"),
    ).toBe("agent\ndrwxr-xr-x\nok\n")
    expect(await helloOf(agent.reference)).toContain('"type"')
    // The control: the base has no such user.
    expect((await run(["docker", "run", "--rm", "--network=none", base, "id", "agent"])).code).not.toBe(0)
  })

  test("that gives the name agent to another id is refused with that reason", async () => {
    const base = process.env.BOTTLE_BASE_DEBIAN ?? ""
    await using folder = await folderWith({
      Dockerfile: `FROM ${base}\nLABEL bottle.test=${nonce}\nRUN useradd --uid 1234 agent\n`,
    })
    const error = await failure(ensure({ dockerfile: folder.dockerfile }))
    expect(error.why).toContain("gives the name agent to id 1234")
  })

  test("on a musl base is refused with that reason", async () => {
    const base = process.env.BOTTLE_BASE_DEBIAN ?? ""
    await using folder = await folderWith({
      Dockerfile: [
        `FROM ${base} AS parts`,
        "RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends busybox-static musl",
        "RUN mkdir -p /out/bin /out/lib /out/etc && cp $(command -v busybox) /out/bin/sh",
        "RUN cp /lib/ld-musl-* /out/lib/",
        "FROM scratch",
        `LABEL bottle.test=${nonce}`,
        "COPY --from=parts /out /",
        "",
      ].join("\n"),
    })
    const error = await failure(ensure({ dockerfile: folder.dockerfile }))
    expect(error.why).toStartWith("this base image is built on musl")
    expect(error.next).toContain("agent_provider.dockerfile")
  })

  test("that fails shows the end of the build's own output and what to do", async () => {
    const base = process.env.BOTTLE_BASE_DEBIAN ?? ""
    await using folder = await folderWith({
      Dockerfile: `FROM ${base}\nRUN echo "about to fail ${nonce}" && exit 7\n`,
    })
    const error = await failure(ensure({ dockerfile: folder.dockerfile }))
    expect(error.what).toContain("could not be built")
    expect(error.why).toContain(`about to fail ${nonce}`)
    expect(error.why).toContain("exit code: 7")
    expect(error.why.split("\n").length).toBeLessThanOrEqual(20)
    expect(error.next).toContain(folder.dockerfile)
  })

  test("that is not there ends with one message", async () => {
    const error = await failure(ensure({ dockerfile: "/no/such/Dockerfile" }))
    expect(error.what).toContain("/no/such/Dockerfile")
  })

  test("stops building when the person interrupts", async () => {
    const base = process.env.BOTTLE_BASE_DEBIAN ?? ""
    await using folder = await folderWith({ Dockerfile: `FROM ${base}\nRUN echo ${nonce}; sleep 300\n` })
    const abort = new AbortController()
    const building = ensureImages(
      { template: "claude", env, dockerfile: folder.dockerfile },
      {
        docker: ["docker"],
        signal: abort.signal,
        progress: (line) => {
          if (line.includes("sleep 300")) abort.abort()
        },
      },
    )
    expect((await failure(building)).exitCode).toBe(130)
  })
})

describe("images of the user's", () => {
  test("take the places of ours, and get the inner layer when they lack it", async () => {
    const own = await build(`bottle-test-own:${nonce}`, freshBase())
    const given = { ...env, BOTTLE_IMAGE: own, BOTTLE_SIDECAR_IMAGE: images.gateway.reference }
    const layered = await ensure({ env: given })
    expect(layered.gateway).toEqual(images.gateway)
    expect(await inside(layered.agent.reference, "cat /fresh; id -un")).toBe(`${nonce}\nagent\n`)
    // One that has the layer is used as it is.
    const complete = await ensure({ env: { ...given, BOTTLE_IMAGE: layered.agent.reference } })
    expect(complete.agent).toEqual(layered.agent)
  })

  test("that are not there are an error that names the variable", async () => {
    for (const name of ["BOTTLE_IMAGE", "BOTTLE_SIDECAR_IMAGE"]) {
      const error = await failure(ensure({ env: { ...env, [name]: `no-such-image:${nonce}` } }))
      expect(error.what).toContain(`no-such-image:${nonce}`)
      expect(error.what).toContain(name)
    }
  })
})

test("a daemon that does not answer is told apart from an image that is not there", async () => {
  const error = await failure(ensure({ env: { ...env, DOCKER_HOST: "unix:///no/such/docker.sock" } }))
  expect(error.what).toContain("Docker")
  expect(error.next).toContain("daemon")
})

/** A base that no cache has seen. */
function freshBase(): string {
  return `FROM ${process.env.BOTTLE_BASE_DEBIAN}\nLABEL bottle.test=${nonce}\nRUN echo ${nonce} >/fresh\n`
}
