import { expect, test } from "bun:test"
import { errorOf, ManifestHome, manifest } from "../fixtures/manifest-home.ts"

const repo = (url: string) => `{ url: "${url}", identity_file: /k, known_host_key: "ssh-ed25519 AAAA" }`

test("env and git.user merge per key, routes per host, repos per name, and scalars are replaced", () => {
  using home = new ManifestHome({
    "bottles/base.md": manifest(`
env: { A: base, B: base }
egress: { routes: [{ host: a.example, paths: [/old] }, { host: b.example }] }
git:
  user: { name: Base, email: base@example.com }
  repos: { app: ${repo("ssh://git@h.example/old.git")}, lib: ${repo("ssh://git@h.example/lib.git")} }
backend: docker
limits: { memory: 2g, pids: 512 }
agent_provider: { dockerfile: Dockerfile }`),
    "bottles/dev.md": manifest(`
extends: base
env: { B: dev, C: dev }
egress: { routes: [{ host: c.example }, { host: A.example, methods: [GET] }] }
git: { user: { email: dev@example.com }, repos: { app: ${repo("ssh://git@h.example/new.git")} } }
backend: bubblewrap
limits: { pids: 1024 }
agent_provider: { template: codex }`),
  })
  const bottle = home.load().bottle("dev")
  expect(bottle.lineage).toEqual(["base", "dev"])
  expect(Object.entries(bottle.env).map(([name, value]) => [name, "value" in value && value.value])).toEqual([
    ["A", "base"],
    ["B", "dev"],
    ["C", "dev"],
  ])
  expect(bottle.routes.map(({ host, paths, methods }) => ({ host, paths, methods }))).toEqual([
    { host: "a.example", paths: undefined, methods: ["GET"] },
    { host: "b.example", paths: undefined, methods: undefined },
    { host: "c.example", paths: undefined, methods: undefined },
  ])
  expect(bottle.git.user).toEqual({ name: "Base", email: "dev@example.com" })
  expect(bottle.git.repos.map(({ name, url }) => [name, url])).toEqual([
    ["app", "ssh://git@h.example/new.git"],
    ["lib", "ssh://git@h.example/lib.git"],
  ])
  expect(bottle.backend).toBe("bubblewrap")
  expect(bottle.limits).toEqual({ memory: "2g", pids: 1024 })
  expect(bottle.provider).toMatchObject({ template: "codex", dockerfile: home.path("bottles/Dockerfile") })
})

test("a command goes with its template: another template leaves it behind, its own keeps it", () => {
  using home = new ManifestHome({
    "bottles/shell.md": manifest("agent_provider: { template: command, command: [bash, -l] }"),
    "bottles/claude.md": manifest("extends: shell\nagent_provider: { template: claude }"),
    "bottles/same.md": manifest("extends: shell\nagent_provider: { template: command }"),
    "bottles/other.md": manifest("extends: shell\nagent_provider: { command: [zsh] }"),
    "bottles/none.md": manifest("extends: shell\nagent_provider: { command: [] }"),
  })
  const manifests = home.load()
  const provider = (name: string) => manifests.bottle(name).provider
  expect(provider("claude")).toMatchObject({ template: "claude", command: [] })
  expect(provider("same")).toMatchObject({ template: "command", command: ["bash", "-l"] })
  expect(provider("other")).toMatchObject({ template: "command", command: ["zsh"] })
  expect(errorOf(() => provider("none")).why).toContain("the template `command` needs one")
})

test("terminal.allow is replaced as a whole, cleared by an empty list, and nothing is allowed by default", () => {
  using home = new ManifestHome({
    "bottles/none.md": manifest("env: {}"),
    "bottles/base.md": manifest("terminal: { allow: [clipboard, title, title] }"),
    "bottles/same.md": manifest("extends: base"),
    "bottles/other.md": manifest("extends: base\nterminal: { allow: [notify] }"),
    "bottles/list.md": manifest("extends: base\nterminal: { allow: [] }"),
    "bottles/value.md": manifest("extends: base\nterminal: { allow: }"),
    "bottles/key.md": manifest("extends: base\nterminal:"),
  })
  const manifests = home.load()
  const allowed = (name: string) => manifests.bottle(name).terminal.allow
  expect(allowed("none")).toEqual([])
  expect(allowed("base")).toEqual(["clipboard", "title"])
  expect(allowed("same")).toEqual(["clipboard", "title"])
  expect(allowed("other")).toEqual(["notify"])
  for (const name of ["list", "value", "key"]) expect(allowed(name)).toEqual([])
})

test("an explicit empty value clears what was inherited", () => {
  using home = new ManifestHome({
    "bottles/base.md": manifest(`
env: { A: base, B: base }
egress: { routes: [{ host: a.example }] }
git: { user: { name: Base, email: base@example.com }, repos: { app: ${repo("ssh://git@h.example/a.git")} } }
backend: docker
supervise: true
limits: { memory: 2g }`),
    "bottles/env.md": manifest("extends: base\nenv: {}"),
    "bottles/key.md": manifest("extends: base\nenv: { A: }\ngit: { user: { name: '' } }"),
    "bottles/routes.md": manifest("extends: base\negress: { routes: [] }"),
    "bottles/git.md": manifest("extends: base\ngit:"),
    "bottles/rest.md": manifest("extends: base\nbackend:\nsupervise:\nlimits:\negress:"),
  })
  const manifests = home.load()
  expect(manifests.bottle("env").env).toEqual({})
  expect(Object.keys(manifests.bottle("key").env)).toEqual(["B"])
  expect(manifests.bottle("key").git.user).toEqual({ email: "base@example.com" })
  expect(manifests.bottle("routes").routes).toEqual([])
  expect(manifests.bottle("git").git).toEqual({ user: {}, repos: [] })
  const rest = manifests.bottle("rest")
  expect(["backend" in rest, rest.supervise, rest.limits, rest.routes]).toEqual([false, false, {}, []])
  expect(manifests.bottle("base").env).not.toEqual({})
})

test("of several bottles the later one wins, and a base that both share counts once, before both", () => {
  using home = new ManifestHome({
    "bottles/base.md": manifest("env: { A: base, B: base }"),
    "bottles/left.md": manifest("extends: base\nenv: { A: left }"),
    "bottles/right.md": manifest("extends: base\nenv: { B: right }"),
    "bottles/both.md": manifest("extends: [left, right]"),
  })
  const bottle = home.load().bottle("both")
  expect(bottle.lineage).toEqual(["base", "left", "right", "both"])
  expect(bottle.env).toMatchObject({ A: { value: "left" }, B: { value: "right" } })
})

test("a circle is an error that prints the chain, for one, two and three bottles", () => {
  using home = new ManifestHome({
    "bottles/self.md": manifest("extends: self"),
    "bottles/two-a.md": manifest("extends: two-b"),
    "bottles/two-b.md": manifest("extends: two-a"),
    "bottles/a.md": manifest("extends: b"),
    "bottles/b.md": manifest("extends: c"),
    "bottles/c.md": manifest("env: {}\nextends: [a]"),
    "bottles/entry.md": manifest("extends: a"),
  })
  const manifests = home.load()
  const why = (name: string) => errorOf(() => manifests.bottle(name)).why
  expect(why("self")).toContain("line 2, extends[0]: the bottles extend each other in a circle: self -> self")
  expect(why("two-a")).toContain("two-a -> two-b -> two-a")
  expect(why("entry")).toContain("a -> b -> c -> a")
  expect(errorOf(() => manifests.bottle("entry")).what).toContain(home.path("bottles/c.md"))
})

test("a bottle that extends an unknown one names the nearest and all others", () => {
  using home = new ManifestHome({
    "bottles/base.md": "---\n---\n",
    "bottles/dev.md": manifest("extends: [bsae]"),
  })
  const { why } = errorOf(() => home.load().bottle("dev"))
  expect(why).toContain('line 2, extends[0]: there is no bottle named "bsae"; did you mean "base"?')
  expect(why).toContain("base, dev")
})

test("a fault in an extended bottle names that bottle's file", () => {
  using home = new ManifestHome({
    "bottles/base.md": manifest("envv: {}"),
    "bottles/dev.md": manifest("extends: base"),
  })
  expect(errorOf(() => home.load().bottle("dev")).what).toBe(
    `The bottle "base" cannot be used: ${home.path("bottles/base.md")}`,
  )
})

test("a chain without end is cut", () => {
  using home = new ManifestHome()
  for (let n = 0; n < 40; n++)
    home.write(`bottles/b${n}.md`, manifest(n === 39 ? "env: {}" : `extends: b${n + 1}`))
  expect(errorOf(() => home.load().bottle("b0")).why).toContain("more than 32 bottles in a row")
  expect(home.load().bottle("b20").lineage).toHaveLength(20)
})

test("every setting remembers the file and line that said it last", () => {
  using home = new ManifestHome({
    "bottles/base.md": manifest("supervise: true\nenv:\n  A: x\n  B: x"),
    "bottles/dev.md": manifest("extends: base\nenv:\n  B: y"),
  })
  const { at } = home.load().bottle("dev")
  expect(at.supervise).toBe(`${home.path("bottles/base.md")}:2`)
  expect(at["env.A"]).toBe(`${home.path("bottles/base.md")}:4`)
  expect(at["env.B"]).toBe(`${home.path("bottles/dev.md")}:4`)
})
