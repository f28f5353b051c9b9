import { expect, test } from "bun:test"
import fc from "fast-check"
import { readAgent } from "../../src/manifest/agent.ts"
import { ManifestFaults } from "../../src/manifest/fault.ts"
import { readLayer } from "../../src/manifest/layer.ts"
import { kebabCase, nameVerdict } from "../../src/manifest/other-fields.ts"
import { hostForm, hostVerdict } from "../../src/manifest/route-fields.ts"
import { nearest } from "../../src/manifest/suggest.ts"
import { errorOf, ManifestHome, manifest } from "../fixtures/manifest-home.ts"

/** The faults of a bottle with this frontmatter, as they are told. */
function whyNot(yaml: string): string {
  using home = new ManifestHome({ "bottles/dev.md": manifest(yaml) })
  return errorOf(() => home.load().bottle("dev")).why
}

/** The fault of a bottle whose only route has these keys. */
function whyNotRoute(keys: string): string {
  return whyNot(`egress:\n  routes:\n    - { ${keys} }`)
}

test("a message names the bottle, its file, the line, the key, the fault and what to write", () => {
  using home = new ManifestHome({ "bottles/dev.md": manifest("env:\n  CI: 1") })
  const error = errorOf(() => home.load().bottle("dev"))
  expect(error.what).toBe(`The bottle "dev" cannot be used: ${home.path("bottles/dev.md")}`)
  expect(error.why).toBe('line 3, env.CI: a number stands where text is needed\n    Write: CI: "1"')
  expect(error.next).toBe("Correct it, as with: bottle edit dev")
  expect(error.exitCode).toBe(1)
})

test("all faults of a file are told in the order of its lines, five at most", () => {
  const why = whyNot(
    "supervise: maybe\nbackend: podman\ngateway: 1\nlimits: { pids: 1, cpus: 0, memory: 4 }\nextends: Dev",
  )
  expect(why.split("\n").filter((line) => line.startsWith("line"))).toHaveLength(5)
  expect(why.indexOf("line 2")).toBeLessThan(why.indexOf("line 3"))
  expect(why).toEndWith("and 2 more")
})

test.each([
  [
    "supervis: true",
    'supervis: unknown key; did you mean "supervise"?\n    Allowed: agent_provider, backend, egress, env,',
  ],
  ["egress: { route: [] }", 'egress.route: unknown key; did you mean "routes"?\n    Allowed: routes'],
  ["supervise: yes", "supervise: text stands where true or false is needed\n    Write: supervise: true"],
  ["backend: dokcer", 'backend: "dokcer" is not a value of this key; did you mean "docker"?'],
  ["agent_provider: { template: cladue }", 'did you mean "claude"?'],
  ["env: [A]", "env: a list stands where a map of keys is needed"],
  ["env: { 1A: x }", "env.1A: not the name of a variable"],
  ["env: { HTTPS_PROXY: x }", "env.HTTPS_PROXY: HTTPS_PROXY is set by bottle itself"],
  ["env: { http_proxy: x }", "is set by bottle itself"],
  ["extends: Dev Base", 'extends[0]: "Dev Base" is not a name'],
  ["limits: { memory: 10m }", "limits.memory: 10m is less than an agent needs to start"],
  ["limits: { memory: lots }", 'limits.memory: "lots" is not an amount of memory'],
  ["limits: { pids: 1.5 }", "limits.pids: a number stands where a whole number is needed"],
  ["terminal: { allow: [clipbord] }", '"clipbord" is not a value of this key; did you mean "clipboard"?'],
  ["terminal: { allow: title }", "text stands where a list is needed\n    Write: allow: [title]"],
  ["terminal: [title]", "terminal: a list stands where a map of keys is needed"],
  ["git: { repos: { app: {} } }", "git.repos.app.url: missing: text is needed"],
  ["git: { repos: { App: { url: x } } }", 'git.repos.App: "App" is not a name'],
  ["agent_provider: { template: command }", "agent_provider.command: the template `command` needs one"],
  ["agent_provider: { command: [sh] }", "the template `claude` has a command of its own"],
  [
    "agent_provider: { template: command, command: \"bash -lc 'a b'\" }",
    'text stands where a list of words is needed\n    Write: command: [bash, -lc, "a b"]',
  ],
  [
    "agent_provider: { template: command, command: [bash -l, -x] }",
    '"bash -l" is not the name of a program: each word stands for itself\n    Write: command: [bash, -l, -x]',
  ],
  [
    "agent_provider: { template: command, command: [~/bin/tool, x] }",
    "nothing expands ~ here\n    Write: command: [/home/agent/bin/tool, x]",
  ],
  ['agent_provider: { template: command, command: [" "] }', "the first word names the program, and is empty"],
  [
    'agent_provider: { template: command, command: ["{prompt}"] }',
    "the first word names the program, which cannot be the task",
  ],
  ['agent_provider: { template: command, command: [sh, "a\\0b"] }', "can hold a NUL byte"],
  ["agent_provider: { forward_host_credentials: true }", "only codex forwards the host's credentials"],
])("%s is refused", (yaml, expected) => {
  expect(whyNot(yaml)).toContain(expected)
})

test.each([
  [
    "host: https://api.example.com/v1/",
    "a URL stands where a host name is needed\n    Write:\n    host: api.example.com\n    paths: [/v1/]",
  ],
  ["host: http://api.example.com", "Write:\n    host: api.example.com\n    scheme: http"],
  ["host: api.example.com/v1", "a host has no path\n    Write:\n    host: api.example.com\n    paths: [/v1]"],
  ['host: "api.example.com:8443"', "a host has no port"],
  ['host: "*"', "a bottle that may reach every host is no bottle"],
  ['host: "*.com"', "*.com would open every name under .com"],
  ['host: "api.*.com"', "a star stands for whole labels at the front"],
  ['host: "0x7f.1"', "another spelling of the address 127.0.0.1"],
  ['host: "[::1]"', 'without brackets\n    Write:\n    host: "::1"'],
  ['host: "a b"', 'not a host name or IP address: "a b"'],
  ['host: ""', "the host is empty"],
  ["paths: [/]", "egress.routes[0].host: missing: text is needed"],
  ["host: a.example, paths: [v1]", 'a path begins with "/"'],
  ["host: a.example, paths: []", "a route without a path lets nothing through"],
  ["host: a.example, methods: []", "a route without a method lets nothing through"],
  [
    "host: a.example, paths: [/v1/*]",
    "a star means nothing here: a path covers all below it\n    Write: /v1/",
  ],
  [
    "host: a.example, paths: [/a/../b]",
    "requests are compared in a simpler form of this path\n    Write: /b",
  ],
  ['host: a.example, paths: ["=/a//b"]', 'Write: "=/a/b"'],
  ['host: a.example, paths: ["/a?b=c"]', "a rule covers the path alone, not the query\n    Write: /a"],
  ["host: a.example, paths: [/a%00]", "no request can have this path"],
  ["host: a.example, methods: [get]", "methods are written in capitals\n    Write: GET"],
  ["host: a.example, methods: [GTE]", '"GTE" is not a known method; did you mean "GET"?'],
  ["host: a.example, methods: [CONNECT]", "CONNECT is never let through"],
  ["host: a.example, private: [10.0.0.300]", '"10.0.0.300" is not a range of addresses'],
  ["host: a.example, private: [10.0.0.0/99]", "is not a range of addresses"],
  [
    "host: a.example, private: 10.0.0.0/8",
    "text stands where a list is needed\n    Write: private: [10.0.0.0/8]",
  ],
  [
    "host: a.example, scheme: http, auth: { scheme: bearer, token: { env: T } }",
    "a credential never travels in the clear",
  ],
  ["host: a.example, intercept: false, paths: [/v1/]", "paths cannot hold where intercept is false"],
  [
    "host: a.example, intercept: false, auth: { scheme: bearer, token: { env: T } }",
    "auth cannot hold where intercept is false",
  ],
  ["host: a.example, auth: { scheme: Bearer, token: { env: T } }", "Write: scheme: bearer"],
  ["host: a.example, auth: { scheme: X-Api-Key, token: { env: T } }", "Write: scheme: header:X-Api-Key"],
  ['host: a.example, auth: { scheme: "header:Host", token: { env: T } }', "Host steers the request itself"],
  [
    'host: a.example, auth: { scheme: "header:content-length", token: { env: T } }',
    "steers the request itself",
  ],
  [
    'host: a.example, auth: { scheme: "header:Transfer-Encoding", token: { env: T } }',
    "steers the request itself",
  ],
  ['host: a.example, auth: { scheme: "header:X Y", token: { env: T } }', '"X Y" is not the name of a header'],
  ["host: a.example, auth: { scheme: bearer, token: {} }", "nothing says where the credential is"],
  [
    "host: a.example, auth: { scheme: bearer, token: { env: T, file: x } }",
    "the credential comes from one place",
  ],
  ["host: a.example, auth: { scheme: bearer, token: { command: [] } }", "the command is empty"],
  ["host: a.example, auth: { scheme: bearer, token: { env: $T } }", "Write: env: T"],
  ["host: a.example, auth: {}", "auth.scheme: missing"],
])("a route with %s is refused", (keys, expected) => {
  expect(whyNotRoute(keys)).toContain(expected)
})

test("a credential pasted in place of its variable's name is not repeated in the message", () => {
  const pasted = ["ghp", "0123456789abcdefghij+"].join("_")
  expect(whyNotRoute(`host: a.example, auth: { scheme: bearer, token: { env: "${pasted}" } }`)).not.toContain(
    pasted,
  )
})

test.each([
  ["git@github.com:org/app.git", "Write: url: ssh://git@github.com/org/app.git"],
  ["https://github.com/org/app.git", "https:// is not served"],
  ["ssh://git:pw@host.example/app.git", "a password must not stand in a manifest"],
  ["ssh://-oProxyCommand=x/app.git", "url:"],
  ["ssh://host.example", "the URL needs a host and the repository's path"],
])("the repository URL %s is refused", (url, expected) => {
  const entry = `{ url: "${url}", identity_file: ~/k, known_host_key: "ssh-ed25519 AAAA" }`
  expect(whyNot(`git: { repos: { app: ${entry} } }`)).toContain(expected)
})

test.each(["main", "refs/heads/", "refs/notes/x", "refs/heads/a..b", "refs/heads/*/x/*", "refs/heads/a b"])(
  "the ref pattern %s is refused",
  (ref) => {
    const entry = `{ url: "ssh://git@h.example/a.git", identity_file: ~/k, known_host_key: "ssh-ed25519 AAAA", refs: ["${ref}"] }`
    expect(whyNot(`git: { repos: { app: ${entry} } }`)).toContain("git.repos.app.refs[0]")
  },
)

test("two entries for one host are an error that names both lines", () => {
  const why = whyNot(
    "egress:\n  routes:\n    - host: a.example\n    - host: b.example\n    - host: A.example.",
  )
  expect(why).toStartWith("line 6, egress.routes[2].host: A.example. has a route on line 4 already")
})

test.each([
  ["a: 1\na: 2", "line 3, a: the key is on line 2 already"],
  ["env: &x { A: b }\nlimits: *x", "line 2, env: &x names the value"],
  ["limits: *x", "line 2, limits: *x refers to another value"],
  ["env: !!map { A: b }", "gives the value a type"],
  ["env:\n  <<: { A: b }", 'line 3, env["<<"]: merge keys are not read'],
  ["env: { __proto__: x }", "not a key that can be used"],
  ["env: { A: [ }", "not valid YAML (column"],
  ["env:\n\tA: b", "line 3: not valid YAML (column 1): Tabs are not allowed"],
  ["- a", "is not a list of `key: value` lines"],
  [`env: ${"[".repeat(40)}${"]".repeat(40)}`, "nested more than 12 levels deep"],
  ["env: {}\n...\nsupervise: true", "not valid YAML"],
])("frontmatter %j is refused", (yaml, expected) => {
  expect(whyNot(yaml)).toContain(expected)
})

test("text without frontmatter, or without its end, is told apart from broken YAML", () => {
  using home = new ManifestHome({ "bottles/a.md": "hello", "bottles/b.md": "---\nenv: {}\n" })
  expect(errorOf(() => home.load().bottle("a")).why).toContain(
    "line 1: the file does not begin with a line of three dashes",
  )
  expect(errorOf(() => home.load().bottle("b")).why).toContain(
    "the three dashes of line 1 have no counterpart",
  )
})

test("YAML 1.2 is read: `no` and `on` are text, and text only where text is needed", () => {
  using home = new ManifestHome({ "bottles/dev.md": manifest("env: { A: no, B: on, C: 0o14x }") })
  expect(home.load().bottle("dev").env).toMatchObject({
    A: { value: "no" },
    B: { value: "on" },
    C: { value: "0o14x" },
  })
})

test("policy in an agent is refused with the place it belongs to", () => {
  using home = new ManifestHome({
    "bottles/dev.md": "---\n---\n",
    "agents/a.md": manifest("bottle: dev\negress: { routes: [] }\ngit: { remotes: {} }\nenv: {}"),
  })
  const { why } = errorOf(() => home.load().agent("a"))
  for (const key of ["line 3, egress", "line 4, git.remotes", "line 5, env"]) {
    expect(why).toContain(
      `${key}: an agent carries no policy\n    Move it to the bottle that the agent names`,
    )
  }
})

test("control characters of a manifest do not reach the terminal through a message", () => {
  const { why } = (() => {
    using home = new ManifestHome({ "bottles/dev.md": manifest('"\\e[31mred\\u202e": 1') })
    return errorOf(() => home.load().bottle("dev"))
  })()
  expect(why).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/)
  expect(why).toContain("unknown key")
})

test("thousands of keys are answered without comparing each with each", () => {
  const keys = Array.from({ length: 8000 }, (_, index) => `k${index}:`).join("\n")
  expect(whyNot(keys)).toContain("and 7995 more")
})

test("whatever the bytes of a file are, the answer is a manifest or its faults", () => {
  const word = fc.constantFrom(
    "---\n",
    "env:",
    " ",
    "\n",
    "a: b",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "egress:",
    "routes:",
    "  - host: x",
    "bottle: dev",
    "&a",
    "*a",
    "!!x",
    "|",
    ">",
    '"',
    "'",
    "#",
    "? ",
    ": ",
    "\t",
    "\r\n",
    "\ufeff",
    "<<:",
    "__proto__:",
    "%YAML 1.1",
    "git: {remotes: {h: {Name: x}}}",
    "tokens:",
    "role: x",
    "pipelock:",
    "...",
    "1",
    "null",
    "~",
  )
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 200 }),
    fc.array(word, { maxLength: 40 }).map((w) => w.join("")),
  )
  fc.assert(
    fc.property(text, fc.boolean(), (body, framed) => {
      const whole = framed ? `---\n${body}\n---\n` : body
      for (const read of [
        () => readLayer("x", "/h/x.md", whole, "/u"),
        () => readAgent("x", "/h/x.md", "repo", { text: whole, hash: "" }),
      ]) {
        try {
          read()
        } catch (error) {
          expect(error).toBeInstanceOf(ManifestFaults)
        }
      }
    }),
    { numRuns: 2000, seed: 20 },
  )
})

test("a host that passes has a form that passes and stays as it is", () => {
  fc.assert(
    fc.property(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.string()), (host) => {
      if (hostVerdict(host) !== undefined) return
      const form = hostForm(host)
      expect(hostVerdict(form)).toBeUndefined()
      expect(hostForm(form)).toBe(form)
    }),
    { seed: 21 },
  )
})

test("the name that is suggested is a name", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const name = kebabCase(text)
      if (name !== "") expect(nameVerdict(name)).toBeUndefined()
    }),
    { seed: 22 },
  )
  expect(kebabCase("My Team's Agent_2")).toBe("my-team-s-agent-2")
})

test("a suggestion is near enough to be meant", () => {
  expect(nearest("tempalte", ["template", "dockerfile"])).toBe("template")
  expect(nearest("repo-agents", ["repo_agents"])).toBe("repo_agents")
  expect(nearest("kubernetes", ["docker", "smolmachines"])).toBeUndefined()
})
