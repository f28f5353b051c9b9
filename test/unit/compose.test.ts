/** The Compose project of a bottle, as data. */
import { describe, expect, test } from "bun:test"
import { composeProject } from "../../src/backend/docker/compose.ts"
import { LABEL_HOME, LABEL_IDENTITY, LABEL_STARTED } from "../../src/backend/docker/names.ts"
import type { SandboxPlan } from "../../src/backend/types.ts"

const PLAN: SandboxPlan = {
  identity: "dev-abc12",
  agent: "dev",
  bottle: "claude",
  image: "claude",
  program: "claude",
  dockerfile: "",
  runtime: "",
  session: "terminal",
  limits: {},
  daemons: ["egress"],
  trees: [],
  resume: false,
  extraHosts: { "api.example.com": "10.1.2.3" },
}
const CONTEXT = {
  home: "0123456789abcdef",
  startedAt: "2026-01-01T00:00:00.000Z",
  images: { agent: "agent:1", gateway: "gateway:1" },
}
const project = (over: Partial<SandboxPlan> = {}) => composeProject({ ...PLAN, ...over }, CONTEXT)

describe("the agent's service", () => {
  const { agent, sidecars } = project().services

  test("has no network, and exactly the two services are there", () => {
    expect(agent.network_mode).toBe("none")
    expect("networks" in agent).toBe(false)
    expect(Object.keys(project().services)).toEqual(["agent", "sidecars"])
  })

  test("gets nothing of the host: no folder, no device, no port, no capability, no privilege", () => {
    for (const service of [agent, sidecars]) {
      expect(service.cap_drop).toEqual(["ALL"])
      expect(service.security_opt).toEqual(["no-new-privileges:true"])
      expect(service.read_only).toBe(true)
      for (const key of ["privileged", "devices", "ports", "pid", "ipc", "userns_mode", "group_add"])
        expect(key in service).toBe(false)
      for (const volume of service.volumes) {
        const source = typeof volume === "string" ? volume.split(":")[0] : volume.source
        expect(Object.keys(project().volumes)).toContain(source ?? "")
      }
    }
    expect("cap_add" in agent).toBe(false)
    expect(agent.user).toBe("1000:1000")
  })

  test("sees the sockets and cannot write among them, and never the control socket's folder or the ledger", () => {
    const text = JSON.stringify(agent.volumes) + JSON.stringify(agent.tmpfs)
    expect(agent.volumes.find((volume) => typeof volume !== "string")).toMatchObject({
      source: "sock",
      read_only: true,
    })
    expect(text).not.toContain("control")
    expect(text).not.toContain("ledger")
  })

  test("has a bound on its processes whatever the bottle says", () => {
    expect(project().services.agent.pids_limit).toBe(4096)
    expect(project({ limits: { pids: 64 } }).services.agent.pids_limit).toBe(64)
  })

  test("has no swap beyond its memory", () => {
    const limited = project({ limits: { memory: "4g", cpus: 2 } }).services.agent
    expect(limited).toMatchObject({ mem_limit: "4g", memswap_limit: "4g", cpus: 2 })
  })

  test("has a terminal and a stdin but for one task", () => {
    expect(agent).toMatchObject({ tty: true, stdin_open: true })
    expect(project({ session: "task" }).services.agent).toMatchObject({ tty: false, stdin_open: false })
  })
})

test("both environments take the proxies of Docker's configuration out, in either case", () => {
  for (const service of Object.values(project().services)) {
    for (const name of ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "no_proxy"])
      expect((service.environment as Record<string, unknown>)[name]).toBeNull()
  }
})

test("a resumed bottle demands its volumes, and makes only the folder of sockets anew", () => {
  const { sock, ...kept } = project({ resume: true }).volumes
  for (const [role, volume] of Object.entries(kept))
    expect(volume).toEqual({ name: `bottle-dev-abc12-${role}`, external: true })
  expect(sock).not.toHaveProperty("external")
})

test("volumes carry identity and home, and nothing that differs from session to session", () => {
  for (const volume of Object.values(project().volumes)) {
    const { labels } = volume as { labels: Record<string, string> }
    expect(labels).toMatchObject({ [LABEL_IDENTITY]: "dev-abc12", [LABEL_HOME]: CONTEXT.home })
    expect(labels).not.toHaveProperty(LABEL_STARTED)
  }
})
