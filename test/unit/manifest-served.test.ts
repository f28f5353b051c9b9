import { expect, test } from "bun:test"
import { checkServed, unserved } from "../../src/manifest/served.ts"
import { errorOf, ManifestHome, manifest } from "../fixtures/manifest-home.ts"

test.each([
  ["backend: smolmachines", "backend: smolmachines"],
  ["gateway: classic", "gateway: classic"],
  ["agent_provider: { template: codex }", "agent_provider.template: codex"],
  ["agent_provider: { template: codex, forward_host_credentials: true }", "forward_host_credentials: true"],
  [
    'git: { repos: { app: { url: "ssh://git@h.example/a.git", identity_file: /k, known_host_key: "ssh-ed25519 AAAA" } } }',
    "git.repos.app",
  ],
  ["supervise: true", "supervise: true"],
  [
    "egress: { routes: [{ host: a.example, scan: { on_match: propose } }] }",
    "scan: { on_match: propose } on a.example",
  ],
  [
    "egress: { routes: [{ host: a.example, scan: { on_match: block } }] }",
    "scan: { on_match: block } on a.example",
  ],
])("%s is read and told to be known but not served", (yaml, value) => {
  using home = new ManifestHome({ "bottles/dev.md": manifest(yaml) })
  const bottle = home.load().bottle("dev")
  const error = errorOf(() => checkServed(bottle))
  expect(error.what).toBe(
    'The bottle "dev" asks for something this version of bottle knows but does not serve yet',
  )
  expect(error.why).toContain(`${value} (${home.path("bottles/dev.md")}:2)`)
  expect(error.next).not.toBe("")
})

test("what is served is not complained about", () => {
  using home = new ManifestHome({
    "bottles/dev.md": manifest(
      "backend: docker\ngateway: native\nsupervise: false\negress: { routes: [{ host: a.example, scan: { on_match: off } }] }\ngit: { user: { name: N } }\nagent_provider: { template: command, command: [sh] }",
    ),
  })
  expect(unserved(home.load().bottle("dev"))).toBeUndefined()
})
