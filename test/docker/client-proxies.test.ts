/** Docker's client configuration can hand a proxy, with its password, to every container that is created. */
import { expect, test } from "bun:test"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"
import { createWorld, type World } from "./world.ts"

const PASSWORD = `proxy-${crypto.randomUUID()}`

test("neither container gets the proxies of Docker's client configuration, nor those of the caller", async () => {
  await using world = await createWorld()
  const config = clientConfig(world)
  const env = { ...world.env, DOCKER_CONFIG: config, FTP_PROXY: `http://user:${PASSWORD}@192.0.2.9:21` }
  const started = await run(
    [process.execPath, "--no-env-file", "src/main.ts", "start", "worker", "-y", "-d"],
    { env },
  )
  expect(started.stderr).not.toContain("error")
  const identity = started.stdout.trim()
  for (const role of ["agent", "sidecars"]) {
    const container = `bottle-${identity}-${role}`
    expect(await world.docker("inspect", container)).not.toContain(PASSWORD)
    const variables = await world.docker("exec", container, "cat", "/proc/1/environ")
    expect(variables.split("\0").filter((variable) => /_proxy=/i.test(variable))).toEqual([])
  }
  await world.ok("stop", identity)
})

test("control: a container that says nothing of proxies gets them", async () => {
  await using world = await createWorld()
  const env = { ...world.env, DOCKER_CONFIG: clientConfig(world) }
  const name = `bottle-control-${crypto.randomUUID().slice(0, 8)}`
  const image = process.env.BOTTLE_BASE_DEBIAN ?? ""
  const created = await run(["docker", "create", "--name", name, image, "true"], { env })
  expect(created.stderr).toBe("")
  try {
    expect(await world.docker("inspect", name)).toContain(PASSWORD)
  } finally {
    await world.docker("rm", name)
  }
})

function clientConfig(world: World): string {
  const folder = join(world.cwd, "docker-config")
  mkdirSync(folder)
  const proxy = `http://user:${PASSWORD}@192.0.2.9:3128`
  writeFileSync(
    join(folder, "config.json"),
    JSON.stringify({ proxies: { default: { httpProxy: proxy, httpsProxy: proxy, noProxy: "x" } } }),
  )
  return folder
}
