import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { chmodSync, mkdirSync, rmSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { ownerFault } from "../../src/manifest/read.ts"
import { errorOf, ManifestHome, manifest } from "../fixtures/manifest-home.ts"

const FULL = manifest(
  `
env: { CI: "1", API_URL: "\${API_URL}", DB_PASSWORD: "?Database password", RAW: "$\${HOME}" }
egress:
  routes:
    - host: API.Example.com
      paths: [/v1/, "=/health"]
      methods: [GET, POST]
      auth: { scheme: bearer, token: { env: EXAMPLE_TOKEN } }
      private: ["10.0.0.0/8"]
      scan: { on_match: block }
    - host: "*.example.org"
      auth: { scheme: "header:X-Api-Key", token: { file: ~/token } }
    - { host: plain.example.net, scheme: http }
    - { host: sealed.example.net, intercept: false }
    - { host: cmd.example.net, auth: { scheme: basic, token: { command: [pass, show, x] } } }
git:
  user: { name: A Name, email: a@example.com }
  repos:
    app:
      url: "ssh://git@host.example:22/org/app.git"
      identity_file: ~/.ssh/id
      known_host_key: "ssh-ed25519 AAAA"
      refs: ["refs/heads/agent/*"]
supervise: true
agent_provider: { template: command, dockerfile: Dockerfile, command: [sh, -c, true] }
backend: bubblewrap
gateway: classic
repo_agents: true
limits: { memory: 4g, pids: 1024, cpus: 1.5 }`.replace(", true]", ', "true"]'),
  "Notes for people.",
)

test("a bottle that says everything is read into the contract's shape", () => {
  using home = new ManifestHome({ "bottles/dev.md": FULL })
  const bottle = home.load().bottle("dev")
  expect(bottle.env).toEqual({
    CI: { kind: "literal", value: "1" },
    API_URL: { kind: "host", variable: "API_URL" },
    DB_PASSWORD: { kind: "asked", prompt: "Database password" },
    RAW: { kind: "literal", value: ["$", "{HOME}"].join("") },
  })
  expect(bottle.routes[0]).toEqual({
    host: "api.example.com",
    paths: ["/v1/", "=/health"],
    methods: ["GET", "POST"],
    auth: { scheme: "bearer", token: { kind: "env", variable: "EXAMPLE_TOKEN" } },
    intercept: true,
    scheme: "https",
    private: ["10.0.0.0/8"],
    scan: { on_match: "block" },
    at: `${home.path("bottles/dev.md")}:6`,
  })
  expect(bottle.routes.slice(1).map(({ host, intercept, scheme }) => [host, intercept, scheme])).toEqual([
    ["*.example.org", true, "https"],
    ["plain.example.net", true, "http"],
    ["sealed.example.net", false, "https"],
    ["cmd.example.net", true, "https"],
  ])
  expect(bottle.routes[1]?.auth?.token).toEqual({ kind: "file", path: join(home.user, "token") })
  expect(bottle.routes[4]?.auth?.token).toEqual({ kind: "command", argv: ["pass", "show", "x"] })
  expect(bottle.git.user).toEqual({ name: "A Name", email: "a@example.com" })
  expect(bottle.git.repos).toEqual([
    {
      name: "app",
      url: "ssh://git@host.example:22/org/app.git",
      identityFile: join(home.user, ".ssh/id"),
      knownHostKey: "ssh-ed25519 AAAA",
      refs: ["refs/heads/agent/*"],
      allowCi: false,
    },
  ])
  expect(bottle.provider).toEqual({
    template: "command",
    dockerfile: home.path("bottles/Dockerfile"),
    forwardHostCredentials: false,
    command: ["sh", "-c", "true"],
  })
  expect([bottle.supervise, bottle.backend, bottle.gateway, bottle.repoAgents]).toEqual([
    true,
    "bubblewrap",
    "classic",
    true,
  ])
  expect(bottle.limits).toEqual({ memory: "4g", pids: 1024, cpus: 1.5 })
})

test("a bottle that says nothing has the defaults", () => {
  using home = new ManifestHome({ "bottles/bare.md": "---\n---\n" })
  const bottle = home.load().bottle("bare")
  expect(bottle).toMatchObject({
    env: {},
    routes: [],
    supervise: false,
    gateway: "native",
    repoAgents: false,
  })
  expect(bottle.provider.template).toBe("claude")
  expect("backend" in bottle).toBe(false)
})

test("an agent has its body as prompt, its file's hash, and Claude's own fields are ignored", () => {
  const text = manifest(
    "bottle: dev\nskills: [tidy-up, tidy-up]\ngit: { user: { name: Bot } }\nname: x\ntools: [Bash]\nmodel: opus\ndescription: Reviews code",
    "\nYou review.\n\nBe brief.\n",
  )
  using home = new ManifestHome({ "bottles/dev.md": "---\n---\n", "agents/reviewer.md": text })
  expect(home.load().agent("reviewer")).toEqual({
    name: "reviewer",
    file: home.path("agents/reviewer.md"),
    origin: "home",
    hash: createHash("sha256").update(text).digest("hex"),
    bottle: "dev",
    skills: ["tidy-up"],
    gitUser: { name: "Bot" },
    prompt: "You review.\n\nBe brief.",
    description: "Reviews code",
  })
})

test("a byte order mark and Windows line ends are read like any other file, and lines still count", () => {
  const text = `\ufeff${manifest("bottle: dev\nskills: []", "One\nTwo")}`.replaceAll("\n", "\r\n")
  using home = new ManifestHome({ "bottles/dev.md": "---\n---\n", "agents/win.md": text })
  expect(home.load().agent("win").prompt).toBe("One\nTwo")
  home.write("agents/win.md", text.replace("skills", "skilz"))
  expect(errorOf(() => home.load().agent("win")).why).toStartWith(
    'line 3, skilz: unknown key; did you mean "skills"?',
  )
})

test("a broken manifest is listed with its fault and does not hide the others", () => {
  using home = new ManifestHome({
    "bottles/dev.md": "---\n---\n",
    "agents/good.md": manifest("bottle: dev"),
    "agents/bad.md": manifest("bottle: dve"),
    "bottles/unused.md": "no frontmatter",
  })
  const agents = home.load().agents()
  expect(agents.map(({ name, broken }) => [name, broken !== undefined])).toEqual([
    ["bad", true],
    ["good", false],
  ])
  expect(agents[0]?.broken?.why).toContain(
    'line 2, bottle: there is no bottle named "dve"; did you mean "dev"?',
  )
})

test("an unknown agent and an unknown bottle are answered with the nearest and all names", () => {
  using home = new ManifestHome({
    "bottles/dev.md": "---\n---\n",
    "agents/reviewer.md": manifest("bottle: dev"),
  })
  const manifests = home.load()
  const agent = errorOf(() => manifests.agent("reviwer"))
  expect(agent.what).toBe('There is no agent named "reviwer"; did you mean "reviewer"?')
  expect(agent.next).toBe("See them with: bottle list available")
  expect(errorOf(() => manifests.bottle("ops")).why).toContain("dev")
})

test("a 10 MB manifest is refused by its size, in a message that names the limit", () => {
  using home = new ManifestHome({ "agents/big.md": manifest("bottle: dev", "x".repeat(10 * 1024 * 1024)) })
  const error = errorOf(() => home.load().agent("big"))
  expect(error.what).toBe(`${home.path("agents/big.md")} is too large for a manifest`)
  expect(error.why).toContain("at most 262144 (256 KiB)")
})

test("bytes that are not UTF-8 are no manifest", () => {
  using home = new ManifestHome()
  home.write("agents/latin.md", Uint8Array.from([0x2d, 0x2d, 0x2d, 0x0a, 0xff]))
  expect(errorOf(() => home.load().agent("latin")).why).toBe("it is not valid UTF-8")
})

test("files whose names are not names are left out with a warning that gives the right one", () => {
  using home = new ManifestHome({
    "bottles/My Bottle.md": "---\n---\n",
    "bottles/README.md": "about",
    "bottles/.dev.md.swp": "",
    "bottles/notes.txt": "",
  })
  const manifests = home.load()
  expect(manifests.bottleNames()).toEqual([])
  expect(manifests.warnings).toHaveLength(1)
  expect(manifests.warnings[0]).toContain("(rename it to my-bottle.md)")
})

test("a manifest or folder that others can write to is refused with the chmod that mends it", () => {
  using home = new ManifestHome({ "bottles/dev.md": "---\n---\n" })
  chmodSync(home.path("bottles/dev.md"), 0o664)
  const error = errorOf(() => home.load().bottle("dev"))
  expect(error.what).toBe(`${home.path("bottles/dev.md")} can be changed by other users`)
  expect(error.next).toBe(`Run: chmod go-w ${home.path("bottles/dev.md")}`)
  chmodSync(home.path("bottles/dev.md"), 0o600)
  expect(home.load().bottle("dev").name).toBe("dev")
  chmodSync(home.path("bottles"), 0o777)
  expect(errorOf(() => home.load()).next).toBe(`Run: chmod go-w ${home.path("bottles")}`)
})

test("a manifest of another user is refused, one of root's is not", () => {
  expect(ownerFault("/h/dev.md", { uid: 1001, mode: 0o100600 }, 1000)?.next).toBe(
    "Make it yours: sudo chown 1000 /h/dev.md",
  )
  expect(ownerFault("/h/dev.md", { uid: 1000, mode: 0o100644 }, 1000)).toBeUndefined()
  expect(ownerFault("/h/dev.md", { uid: 0, mode: 0o100644 }, 1000)).toBeUndefined()
})

test("bottles of the current folder are ignored with a warning", () => {
  using home = new ManifestHome({
    "repo/.bottle/bottles/evil.md": "---\n---\n",
    "bottles/dev.md": "---\n---\n",
  })
  const manifests = home.load()
  expect(manifests.bottleNames()).toEqual(["dev"])
  expect(manifests.warnings[0]).toContain(`${home.path("repo/.bottle/bottles")} is ignored`)
})

test("an agent of the repository runs only in a bottle that takes such agents", () => {
  using home = new ManifestHome({
    "repo/.bottle/agents/helper.md": manifest("bottle: dev", "hi"),
    "bottles/dev.md": "---\n---\n",
  })
  const error = errorOf(() => home.load().agent("helper"))
  expect(error.what).toBe(
    'The agent "helper" comes with this repository, and the bottle "dev" takes only your own',
  )
  expect(error.next).toContain("repo_agents: true")
  home.write("bottles/dev.md", manifest("repo_agents: true"))
  expect(home.load().agent("helper")).toMatchObject({ origin: "repo", prompt: "hi" })
})

test("a repository's agent does not hide one of the user's, nor the other way round", () => {
  using home = new ManifestHome({
    "repo/.bottle/agents/helper.md": manifest("bottle: dev"),
    "agents/helper.md": manifest("bottle: dev"),
    "bottles/dev.md": manifest("repo_agents: true"),
  })
  const error = errorOf(() => home.load().agent("helper"))
  expect(error.what).toBe('There are two agents named "helper"')
  expect(home.load().agents()[0]?.broken?.what).toBe(error.what)
})

test("links in a repository cannot lead out of its agents folder", () => {
  using home = new ManifestHome({
    "bottles/dev.md": manifest("repo_agents: true"),
    "user/secret.md": manifest("bottle: dev", "secret"),
    "repo/.bottle/agents/real.md": manifest("bottle: dev", "real"),
  })
  symlinkSync(home.path("user/secret.md"), home.path("repo/.bottle/agents/leak.md"))
  symlinkSync("real.md", home.path("repo/.bottle/agents/alias.md"))
  expect(home.load().agent("alias").prompt).toBe("real")
  expect(errorOf(() => home.load().agent("leak")).what).toEndWith(
    "is a link that leaves the repository's agents folder",
  )
  rmSync(home.path("repo/.bottle/agents"), { recursive: true })
  mkdirSync(home.path("user/agents"))
  symlinkSync(home.path("user/agents"), home.path("repo/.bottle/agents"))
  expect(errorOf(() => home.load()).what).toEndWith("is a link that leaves the repository")
})

test("the user's own home folder is no repository", () => {
  using home = new ManifestHome({ "agents/mine.md": manifest("bottle: dev"), "bottles/dev.md": "---\n---\n" })
  const manifests = home.load(home.user)
  expect(manifests.warnings).toEqual([])
  expect(manifests.agent("mine").origin).toBe("home")
})

test("manifests of the earlier system alone give a pointed hint, and none once there are new ones", () => {
  using home = new ManifestHome({ "user/.bot-bottle/bottles/dev.md": "---\n---\n" })
  expect(errorOf(() => home.load().agents()).next).toContain(`cp -r ${home.path("user/.bot-bottle")}/bottles`)
  rmSync(home.path("user/.bot-bottle"), { recursive: true })
  home.write("repo/bot-bottle.json", "{}")
  expect(errorOf(() => home.load().agent("x")).what).toContain(home.path("repo/bot-bottle.json"))
  home.write("bottles/dev.md", "---\n---\n")
  expect(home.load().agents()).toEqual([])
})
