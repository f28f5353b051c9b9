/** The agent's environment as its tools meet it: each reaches the allowed host over HTTPS without being told how. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { existsSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"
import { type TemporaryFolder, temporaryFolder } from "../fixtures/temporary-folder.ts"
import { type Origin, type Recorded, startHttpsOrigin } from "../fixtures/tls-origin.ts"
import { createScripted, type Scripted } from "./scripted.ts"

const HOST = "api.example.test"
const KEY = `key-${crypto.randomUUID()}`

let scripted: Scripted
let origin: Origin
let network: string
let folder: TemporaryFolder
const requests: Pick<Recorded, "url" | "headers">[] = []

beforeAll(async () => {
  scripted = await createScripted()
  const { world } = scripted
  network = `bottle-clients-${crypto.randomUUID().slice(0, 8)}`
  await world.docker("network", "create", network)
  const address = await world.docker(
    "network",
    "inspect",
    network,
    "--format",
    "{{(index .IPAM.Config 0).Gateway}}",
  )
  folder = temporaryFolder()
  await bareRepository(join(folder.path, "repo.git"))
  origin = await startHttpsOrigin(
    world.authority,
    [HOST],
    (request, response) => {
      requests.push({ url: request.url ?? "", headers: request.headers })
      const file = join(folder.path, (request.url ?? "/").split("?")[0] ?? "")
      if (existsSync(file) && statSync(file).isFile()) response.end(readFileSync(file))
      else if (request.url?.startsWith("/hello")) response.end(`hello ${request.headers["x-api-key"]}\n`)
      else response.writeHead(404).end()
    },
    { address },
  )
  world.env.BOTTLE_EXTRA_HOSTS += `,${HOST}=${address}`
  world.env.EXAMPLE_KEY = KEY
  world.bottleFile(
    "clients",
    `extends: scripted
egress:
  routes:
    - host: ${HOST}
      private: ["${address}/32"]
      auth: { scheme: "header:X-Api-Key", token: { env: EXAMPLE_KEY } }`,
  )
  world.agentFile("scripted", "bottle: clients")
}, 600_000)

afterAll(async () => {
  await origin?.[Symbol.asyncDispose]()
  folder?.[Symbol.dispose]()
  if (network) await run(["docker", "network", "rm", network])
  await scripted?.[Symbol.asyncDispose]()
})

/** A repository that plain files serve (git's dumb protocol). */
async function bareRepository(path: string): Promise<void> {
  const work = `${path}.work`
  const git = async (...args: string[]) => {
    const result = await run(["git", "-c", "user.name=t", "-c", "user.email=t@example.test", ...args])
    if (result.code !== 0) throw new Error(result.stderr)
  }
  await git("init", "--quiet", "--initial-branch=main", work)
  await git("-C", work, "commit", "--quiet", "--allow-empty", "--message=first")
  await git("clone", "--quiet", "--bare", work, path)
  await git("-C", path, "update-server-info")
}

const CLIENTS: Record<string, string> = {
  curl: `curl -sS https://${HOST}/hello`,
  "curl, with the system's trust store": `env -u SSL_CERT_FILE -u CURL_CA_BUNDLE curl -sS https://${HOST}/hello`,
  "python's urllib": `python3 -c "import urllib.request as r; print(r.urlopen('https://${HOST}/hello').read().decode())"`,
  "node's https through a tunnel": `node -e "
    const tls = require('tls'), http = require('http'), { hostname, port } = new URL(process.env.HTTPS_PROXY)
    http.request({ host: hostname, port, method: 'CONNECT', path: '${HOST}:443' }).on('connect', (_, socket) => {
      require('https').get({ host: '${HOST}', path: '/hello', defaultPort: 443, createConnection: () => tls.connect({ socket, servername: '${HOST}' }) },
        (answer) => answer.pipe(process.stdout))
    }).end()"`,
  "bun's fetch": `/opt/bottle/bun -e "console.log(await (await fetch('https://${HOST}/hello')).text())"`,
}

for (const [name, line] of Object.entries(CLIENTS)) {
  test(`${name} reaches the host, with a credential it does not have`, async () => {
    const result = await scripted.start(line, { args: ["--prompt", "x"] })
    expect(result.stderr).not.toContain("error")
    // What the host says of the credential is scrubbed on its way back, byte for byte of the same length.
    expect(result.stdout.trim()).toBe(`hello ${"*".repeat(KEY.length)}`)
    expect(requests.at(-1)?.headers["x-api-key"]).toBe(KEY)
  })
}

test("git clones over HTTPS", async () => {
  const result = await scripted.start(
    `cd /tmp && git clone --quiet https://${HOST}/repo.git && git -C repo log --format=%s`,
    { args: ["--prompt", "x"] },
  )
  expect(result.stderr).not.toContain("fatal")
  expect(result.stdout.trim()).toBe("first")
})

test("git shows the denial's one line when it clones from a host that no route names", async () => {
  const result = await scripted.start("cd /tmp; git clone https://other.example.test/repo.git 2>&1; true", {
    args: ["--prompt", "x"],
  })
  expect(result.stdout).toContain("403")
})

test("the java trust store holds the authority that the PEM file holds", async () => {
  const line = `od -An -tx1 -v /run/bottle/sock/init/ca.jks | tr -d ' \\n'; echo; openssl x509 -in $NODE_EXTRA_CA_CERTS -outform DER 2>/dev/null | od -An -tx1 -v | tr -d ' \\n' || node -e "
    process.stdout.write(Buffer.from(require('fs').readFileSync(process.env.NODE_EXTRA_CA_CERTS, 'utf8').split('-----')[2], 'base64').toString('hex'))"`
  const result = await scripted.start(line, { args: ["--prompt", "x"] })
  const [store = "", certificate = ""] = result.stdout.trim().split("\n")
  expect(store.startsWith("feedfeed")).toBe(true)
  expect(certificate.length).toBeGreaterThan(100)
  expect(store).toContain(certificate)
})
