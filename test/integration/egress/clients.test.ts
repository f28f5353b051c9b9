/** The clients that agents use, as they are, through inner's relay: each knows the proxy and the authority by variables. */
import { describe, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { startRelay } from "../../../sidecars/inner/relay.ts"
import { route, startEgress } from "../../fixtures/egress.ts"
import { temporaryFolder } from "../../fixtures/temporary-folder.ts"
import { createTestAuthority } from "../../fixtures/test-authority.ts"
import { bodyOf, startHttpsOrigin } from "../../fixtures/tls-origin.ts"

const HOST = "api.example.test"
const BAD = "bad.example.test"

async function rig() {
  const token = `sk-${randomBytes(16).toString("hex")}`
  const authority = await createTestAuthority()
  const seen: string[] = []
  const origin = await startHttpsOrigin(authority, [HOST], async (request, response) => {
    const body = await bodyOf(request)
    seen.push(`${request.method} ${request.url} ${request.headers.authorization} ${body.length}`)
    response.end(`served ${request.headers.authorization}`)
  })
  const egress = await startEgress({
    routes: [route(HOST, { auth: { scheme: "bearer", credential: "api" } })],
    tokens: { api: token },
    hosts: { [HOST]: origin.address },
    extraCa: authority.cert,
  })
  const relay = await startRelay({ port: 0, socket: egress.socket })
  const proxy = `http://127.0.0.1:${relay.port}`
  return {
    token,
    seen,
    env: {
      PATH: process.env.PATH ?? "",
      HOME: "/nonexistent",
      HTTPS_PROXY: proxy,
      HTTP_PROXY: proxy,
      https_proxy: proxy,
      http_proxy: proxy,
      NODE_EXTRA_CA_CERTS: egress.caFile,
      SSL_CERT_FILE: egress.caFile,
      CURL_CA_BUNDLE: egress.caFile,
      GIT_SSL_CAINFO: egress.caFile,
      REQUESTS_CA_BUNDLE: egress.caFile,
      PROXY: proxy,
    },
    async [Symbol.asyncDispose]() {
      await relay[Symbol.asyncDispose]()
      await egress[Symbol.asyncDispose]()
      await origin[Symbol.asyncDispose]()
    },
  }
}

interface Ran {
  code: number | null
  out: string
  err: string
}

function run(argv: string[], env: Record<string, string>, cwd = "/"): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), { env, cwd, stdio: ["ignore", "pipe", "pipe"] })
    let out = ""
    let err = ""
    child.stdout.on("data", (chunk) => {
      out += chunk
    })
    child.stderr.on("data", (chunk) => {
      err += chunk
    })
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, out, err }))
  })
}

const NODE = `
const net = require("node:net"), tls = require("node:tls"), http = require("node:http"), https = require("node:https")
const proxy = new URL(process.env.PROXY)
const [host, path] = process.argv.slice(1)
http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: host + ":443" })
  .on("connect", (_, socket) => {
    const agent = new https.Agent({ keepAlive: true })
    agent.createConnection = () => tls.connect({ socket, servername: host })
    const request = https.request({ host, path, agent, method: "POST" }, (response) => {
      let text = ""
      response.on("data", (chunk) => { text += chunk })
      response.on("end", () => { console.log(response.statusCode, text); process.exit(0) })
    })
    request.end("x".repeat(100000))
  }).end()
`

const PYTHON = `
import sys, urllib.request, urllib.error
try:
    answer = urllib.request.urlopen(urllib.request.Request("https://" + sys.argv[1] + sys.argv[2], data=b"x" * 100000))
    print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
`

const BUN = `
const answer = await fetch("https://" + process.argv.at(-2) + process.argv.at(-1), { method: "POST", body: "x".repeat(100000) })
console.log(answer.status, await answer.text())
`

const CLIENTS: [string, (host: string, path: string) => string[]][] = [
  [
    "curl",
    (host, path) => [
      "curl",
      "-sS",
      "-w",
      " %{http_code}",
      "-d",
      "x".repeat(100_000),
      `https://${host}${path}`,
    ],
  ],
  ["node", (host, path) => ["node", "-e", NODE, host, path]],
  ["python", (host, path) => ["python3", "-c", PYTHON, host, path]],
  ["bun", (host, path) => [process.execPath, "-e", BUN, host, path]],
]

describe.each(CLIENTS)("%s", (_, command) => {
  test("reaches the allowed host with the gateway's credential, and reads why another one is refused", async () => {
    await using it = await rig()
    const served = await run(command(HOST, "/a"), it.env)
    expect(served.err).toBe("")
    expect(served.out).toContain(`served Bearer ${"*".repeat(it.token.length)}`)
    expect(served.out).toContain("200")
    expect(it.seen).toEqual([`POST /a Bearer ${it.token} 100000`])

    const refused = await run(command(BAD, "/a"), it.env)
    expect(refused.out).toContain("403")
    expect(refused.out).toContain(`no route names the host ${BAD}`)
  }, 20_000)
})

test("curl shows the refusal where it shows only the status line", async () => {
  await using it = await rig()
  const refused = await run(["curl", "-sS", "-f", "-o", "/dev/null", "-D", "-", `https://${BAD}/`], it.env)
  expect(refused.out).toContain("egress: GET https://bad.example.test/ refused (host-not-allowed)")
})

test("git clones over HTTPS, prints why a push is refused, and a large pack comes whole", async () => {
  using folder = temporaryFolder()
  const at = (name: string) => join(folder.path, name)
  const authority = await createTestAuthority()
  const gitEnv = {
    PATH: process.env.PATH ?? "",
    HOME: folder.path,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_AUTHOR_NAME: "t",
    GIT_AUTHOR_EMAIL: "t@example.test",
    GIT_COMMITTER_NAME: "t",
    GIT_COMMITTER_EMAIL: "t@example.test",
  }
  const git = async (args: string[], env: Record<string, string> = gitEnv) => {
    const done = await run(["git", ...args], env, folder.path)
    return { ...done, all: done.out + done.err }
  }
  mkdirSync(at("work"))
  expect((await git(["init", "-q", "-b", "main", at("work")])).code).toBe(0)
  writeFileSync(at("work/data"), randomBytes(5_000_000))
  await git(["-C", at("work"), "add", "."])
  await git(["-C", at("work"), "commit", "-q", "-m", "one"])
  expect((await git(["clone", "-q", "--bare", at("work"), at("repo.git")])).code).toBe(0)
  await git(["-C", at("repo.git"), "config", "http.receivepack", "true"])

  await using origin = await startHttpsOrigin(authority, [HOST], (request, response) => {
    const url = new URL(request.url!, "https://x")
    const backend = spawn("git", ["http-backend"], {
      env: {
        ...gitEnv,
        GIT_PROJECT_ROOT: folder.path,
        GIT_HTTP_EXPORT_ALL: "1",
        PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: request.method!,
        CONTENT_TYPE: request.headers["content-type"] ?? "",
        REMOTE_USER: "t",
        ...(request.headers["content-encoding"] === undefined
          ? {}
          : { HTTP_CONTENT_ENCODING: request.headers["content-encoding"] }),
        ...(request.headers["git-protocol"] === undefined
          ? {}
          : { GIT_PROTOCOL: String(request.headers["git-protocol"]) }),
      },
    })
    request.pipe(backend.stdin)
    let head = Buffer.alloc(0)
    let begun = false
    backend.stdout.on("data", (chunk: Buffer) => {
      if (begun) return void response.write(chunk)
      head = Buffer.concat([head, chunk])
      const end = head.indexOf("\r\n\r\n")
      if (end < 0) return
      begun = true
      for (const line of head.toString("latin1", 0, end).split("\r\n")) {
        const [name = "", value = ""] = line.split(/: ?/, 2)
        if (name === "Status") response.statusCode = Number(value.slice(0, 3))
        else response.setHeader(name, value)
      }
      response.write(head.subarray(end + 4))
    })
    backend.stdout.on("end", () => response.end())
  })
  await using egress = await startEgress({
    routes: [route(HOST)],
    hosts: { [HOST]: origin.address },
    extraCa: authority.cert,
  })
  await using relay = await startRelay({ port: 0, socket: egress.socket })
  const env = { ...gitEnv, https_proxy: `http://127.0.0.1:${relay.port}`, GIT_SSL_CAINFO: egress.caFile }
  const cloned = await git(["clone", "-q", `https://${HOST}/repo.git`, at("copy")], env)
  expect([cloned.all, cloned.code]).toEqual(["", 0])
  expect(readFileSync(at("copy/data")).equals(readFileSync(at("work/data")))).toBe(true)

  writeFileSync(at("copy/more"), "more")
  await git(["-C", at("copy"), "add", "."])
  await git(["-C", at("copy"), "commit", "-q", "-m", "two"])
  const pushed = await git(["-C", at("copy"), "push", "-q", "origin", "main"], env)
  expect(pushed.code).not.toBe(0)
  expect(pushed.all).toContain("git pushes over HTTPS are refused")
  // The control: past the gateway the same push is taken.
  const direct = await git(["-C", at("copy"), "push", "-q", at("repo.git"), "main"])
  expect([direct.all, direct.code]).toEqual(["", 0])
}, 30_000)
