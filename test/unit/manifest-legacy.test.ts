import { expect, test } from "bun:test"
import { parse } from "yaml"
import { errorOf, ManifestHome, manifest } from "../fixtures/manifest-home.ts"

/** The faults of a bottle with this frontmatter. */
function whyNot(yaml: string): string {
  using home = new ManifestHome({ "bottles/old.md": manifest(yaml) })
  return errorOf(() => home.load().bottle("old")).why
}

/** What the message says to write, as YAML text. */
function suggestion(why: string): string {
  const lines = why.split("\n")
  const start = lines.indexOf("    Write:")
  const end = lines.findIndex(
    (line, index) => index > start && (!line.startsWith("    ") || line.startsWith("    (")),
  )
  return lines
    .slice(start + 1, end < 0 ? undefined : end)
    .map((line) => line.slice(4))
    .join("\n")
}

/** The suggestion, which must itself be a sound manifest. */
function sound(yaml: string, wrap = (text: string) => text): unknown {
  const why = whyNot(yaml)
  const text = wrap(suggestion(why))
  using home = new ManifestHome({ "bottles/new.md": manifest(text) })
  expect(home.load().bottle("new").name).toBe("new")
  return parse(text)
}

const asRoutes = (text: string) => `egress:\n  routes:\n${text.replace(/^/gm, "    ")}`

test("git.remotes shows that very repository by name", () => {
  const yaml = `git:
  remotes:
    gitea.example.org:
      Name: Main App
      Upstream: ssh://git@gitea.example.org:2222/org/app.git
      IdentityFile: ~/.ssh/gitea
      KnownHostKey: "ssh-ed25519 AAAAC3Nz"`
  expect(whyNot(yaml)).toStartWith(
    'line 4, git.remotes["gitea.example.org"]: repositories are listed by name now',
  )
  expect(sound(yaml)).toEqual({
    git: {
      repos: {
        "main-app": {
          url: "ssh://git@gitea.example.org:2222/org/app.git",
          identity_file: "~/.ssh/gitea",
          known_host_key: "ssh-ed25519 AAAAC3Nz",
        },
      },
    },
  })
})

test("git-gate and git as a list become git.repos", () => {
  const gate =
    'git-gate: { user: { name: N }, repos: { app: { url: "ssh://git@h.example/a.git", identity: ~/k, host_key: "ssh-ed25519 AAAA" } } }'
  expect(sound(gate)).toEqual({
    git: {
      user: { name: "N" },
      repos: {
        app: { url: "ssh://git@h.example/a.git", identity_file: "~/k", known_host_key: "ssh-ed25519 AAAA" },
      },
    },
  })
  const list =
    'git: [{ Name: app, Upstream: "ssh://git@h.example/a.git", IdentityFile: ~/k, KnownHostKey: "ssh-ed25519 AAAA" }]'
  expect(sound(list)).toMatchObject({ git: { repos: { app: { url: "ssh://git@h.example/a.git" } } } })
})

test("git_user becomes git.user, in bottles and in agents", () => {
  expect(sound("git_user: { name: N, email: n@example.com }")).toEqual({
    git: { user: { name: "N", email: "n@example.com" } },
  })
  using home = new ManifestHome({
    "agents/a.md": manifest("bottle: dev\ngit_user: { name: N }"),
    "bottles/dev.md": "---\n---\n",
  })
  const { why } = errorOf(() => home.load().agent("a"))
  expect(why).toBe(
    "line 3, git_user: the identity of commits stands under git now\n    Write:\n    git:\n      user:\n        name: N",
  )
})

test("path_allowlist, token_ref and role become paths and auth.token of the same route", () => {
  const yaml = `egress:
  routes:
    - host: gitea.example.org
      path_allowlist: [/api/v1/, /org]
      auth: { scheme: token, token_ref: GITEA_TOKEN }
      role: forge`
  expect(whyNot(yaml)).toStartWith(
    "line 4, egress.routes[0]: path_allowlist, role, auth.token_ref: an earlier spelling",
  )
  expect(whyNot(yaml)).toContain("(role is gone: a provider knows its own hosts)")
  expect(sound(yaml, asRoutes)).toEqual({
    egress: {
      routes: [
        {
          host: "gitea.example.org",
          paths: ["/api/v1/", "/org"],
          auth: { scheme: "token", token: { env: "GITEA_TOKEN" } },
        },
      ],
    },
  })
})

test("Bearer with token_ref becomes bearer with token.env", () => {
  const yaml = "egress: { routes: [{ host: a.example, auth: { scheme: Bearer, token_ref: T } }] }"
  expect(sound(yaml, asRoutes)).toMatchObject({
    egress: { routes: [{ auth: { scheme: "bearer", token: { env: "T" } } }] },
  })
})

test("pipelock's exceptions become intercept and private", () => {
  const yaml =
    "egress: { routes: [{ host: a.example, pipelock: { tls_passthrough: true, ssrf_ip_allowlist: [10.0.0.5, 10.1.0.0/16] } }] }"
  expect(sound(yaml, asRoutes)).toEqual({
    egress: { routes: [{ host: "a.example", private: ["10.0.0.5/32", "10.1.0.0/16"], intercept: false }] },
  })
})

test("tls_passthrough beside a credential keeps the credential and drops the scanning", () => {
  const yaml =
    "egress: { routes: [{ host: a.example, pipelock: { tls_passthrough: true }, auth: { scheme: Bearer, token_ref: T } }] }"
  expect(sound(yaml, asRoutes)).toEqual({
    egress: {
      routes: [
        { host: "a.example", auth: { scheme: "bearer", token: { env: "T" } }, scan: { on_match: "off" } },
      ],
    },
  })
  expect(whyNot(yaml)).toContain("because auth needs the bytes seen")
})

test("matches and dlp become paths, methods and scan", () => {
  const yaml = `egress:
  routes:
    - host: a.example
      matches:
        - paths: [{ type: prefix, value: /v1/ }, { type: exact, value: /health }, { type: regex, value: ".*" }]
          methods: [get]
      dlp: { outbound_on_match: supervise }`
  expect(sound(yaml, asRoutes)).toEqual({
    egress: {
      routes: [
        { host: "a.example", methods: ["GET"], paths: ["/v1/", "=/health"], scan: { on_match: "propose" } },
      ],
    },
  })
  expect(whyNot(yaml)).toContain("(the pattern .* has no counterpart: write it as prefixes)")
})

test("egress.allowlist becomes a route for each host", () => {
  expect(sound("egress: { allowlist: [a.example, b.example] }")).toEqual({
    egress: { routes: [{ host: "a.example" }, { host: "b.example" }] },
  })
})

test("agent_provider.auth_token becomes the credential of the provider's route", () => {
  expect(sound("agent_provider: { template: claude, auth_token: MY_TOKEN }")).toEqual({
    egress: {
      routes: [{ host: "api.anthropic.com", auth: { scheme: "bearer", token: { env: "MY_TOKEN" } } }],
    },
  })
})

test.each([
  [
    "cred_proxy: { routes: [{ upstream: https://api.example.com, auth_scheme: Bearer, token_ref: T }] }",
    "api.example.com",
  ],
  [
    "egress_proxy: { routes: [{ host: api.example.com, auth: { scheme: Bearer, token_ref: T } }] }",
    "api.example.com",
  ],
  ["tokens: { T: x }", "api.example.com"],
])("%s becomes an egress route", (yaml, host) => {
  expect(sound(yaml)).toEqual({
    egress: { routes: [{ host, auth: { scheme: "bearer", token: { env: "T" } } }] },
  })
})

test.each([
  ["runtime: runsc", "line 2, runtime: the runtime is found by itself"],
  ["ssh: [{ Host: h.example, IdentityFile: ~/k }]", "line 2, ssh: SSH keys stay outside of the sandbox"],
  ["egress: { dlp_action: warn }", "line 2, egress.dlp_action: what a match leads to is said on each route"],
  ["egress: { log: full }", "line 2, egress.log: every request is in the ledger"],
])("%s is told by name", (yaml, expected) => {
  expect(whyNot(yaml)).toStartWith(expected)
})

test("earlier keys and new mistakes of one file are told together", () => {
  const why = whyNot(
    "git_user: { name: N }\nsupervise: 1\negress: { routes: [{ host: a.example, role: x }, { host: https://b.example }] }",
  )
  expect(why).toContain("line 2, git_user")
  expect(why).toContain("line 3, supervise: a number stands where true or false is needed")
  expect(why).toContain("line 4, egress.routes[0]: role: an earlier spelling")
  expect(why).toContain("egress.routes[1].host: a URL stands where a host name is needed")
})
