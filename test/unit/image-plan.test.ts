import { describe, expect, test } from "bun:test"
import {
  type AgentBase,
  CONTENT_LABEL,
  contentHash,
  type ImageInputs,
  planImages,
  ROLE_LABEL,
  readsContext,
} from "../../src/image/plan.ts"

function inputs(change: Partial<ImageInputs> = {}): ImageInputs {
  return {
    agent: { kind: "template" },
    gatewayImage: undefined,
    template: {
      name: "claude",
      files: { "claude/Dockerfile": "ARG BASE_NODE=node:1\nFROM $BASE_NODE\n" },
    },
    inner: { "inner/Dockerfile": "ARG BASE_NODE=node:1\nARG BASE\nFROM $BASE\n", "sidecar/inner.js": "1" },
    gateway: {
      "gateway/Dockerfile": "ARG BASE_NODE=node:1\nARG BASE_DEBIAN=debian:1\n",
      "sidecar/gateway.js": "1",
    },
    bases: {},
    ...change,
  }
}

function custom(text: string, folderHash = ""): AgentBase {
  return { kind: "dockerfile", path: "/home/me/box/Dockerfile", text, folderHash }
}

test("the template is built first, the inner layer on top of it, the gateway beside them", () => {
  const plan = planImages(inputs())
  expect(plan.agentBuilds.map((build) => build.title)).toEqual(["claude", "agent"])
  expect(plan.agentBuilds[1]!.args.BASE).toBe(plan.agentBuilds[0]!.tag)
  expect(plan.agent).toMatch(/^bottle-agent:[0-9a-f]{12}$/)
  expect(plan.agent).toBe(plan.agentBuilds[1]!.tag)
  expect(plan.gateway).toMatch(/^bottle-gateway:[0-9a-f]{12}$/)
  expect(plan.gatewayBuilds).toHaveLength(1)
  for (const build of [...plan.agentBuilds, ...plan.gatewayBuilds]) {
    expect(build.labels[CONTENT_LABEL]).toMatch(/^[0-9a-f]{64}$/)
    expect(build.tag).toEndWith(build.labels[CONTENT_LABEL]!.slice(0, 12))
  }
})

test("the same content has the same tags, whatever the order of its files", () => {
  const files = inputs().inner
  const turned = Object.fromEntries(Object.entries(files).reverse())
  expect(planImages(inputs({ inner: turned }))).toEqual(planImages(inputs()))
})

test("each provider's image has its own name, and a user's Dockerfile stands on that one", () => {
  const template = {
    name: "command",
    files: { "command/Dockerfile": "ARG BASE_DEBIAN\nFROM $BASE_DEBIAN\n" },
  } as const
  const bases = { BASE_DEBIAN: "debian:2" }
  const plan = planImages(inputs({ template, bases }))
  expect(plan.agentBuilds[0]).toMatchObject({
    title: "command",
    dockerfile: "command/Dockerfile",
    args: bases,
  })
  expect(plan.agentBuilds[0]!.tag).toStartWith("bottle-command:")
  expect(plan.agentBuilds[0]!.labels[ROLE_LABEL]).toBe("command")
  expect(plan.agent).not.toBe(planImages(inputs({ bases })).agent)
  const own = planImages(inputs({ template, bases, agent: custom("ARG BOTTLE_AGENT\nFROM $BOTTLE_AGENT\n") }))
  expect(own.agentBuilds[1]!.args.BOTTLE_AGENT).toBe(plan.agentBuilds[0]!.tag)
})

describe("a change of", () => {
  const before = planImages(inputs())

  test("the bundle of inner changes the agent's tag and keeps the large layer below it", () => {
    const after = planImages(inputs({ inner: { ...inputs().inner, "sidecar/inner.js": "2" } }))
    expect(after.agent).not.toBe(before.agent)
    expect(after.agentBuilds[0]).toEqual(before.agentBuilds[0]!)
    expect(after.gateway).toBe(before.gateway)
  })

  test("the template changes what is built on it", () => {
    const after = planImages(
      inputs({ template: { name: "claude", files: { "claude/Dockerfile": "FROM other" } } }),
    )
    expect(after.agentBuilds[0]!.tag).not.toBe(before.agentBuilds[0]!.tag)
    expect(after.agent).not.toBe(before.agent)
  })

  test("a base reaches the Dockerfiles that declare it, and their tags", () => {
    const after = planImages(inputs({ bases: { BASE_DEBIAN: "mirror/debian@sha256:1" } }))
    expect(after.gateway).not.toBe(before.gateway)
    expect(after.gatewayBuilds[0]!.args).toEqual({ BASE_DEBIAN: "mirror/debian@sha256:1" })
    expect(after.agent).toBe(before.agent)
    const node = planImages(inputs({ bases: { BASE_NODE: "mirror/node@sha256:1" } }))
    expect(node.agent).not.toBe(before.agent)
    expect(node.gateway).not.toBe(before.gateway)
  })
})

describe("a Dockerfile of the user's", () => {
  test("is built in its folder and gets the inner layer", () => {
    const plan = planImages(inputs({ agent: custom("FROM ubuntu\n") }))
    expect(plan.agentBuilds.map((build) => build.title)).toEqual(["/home/me/box/Dockerfile", "agent"])
    expect(plan.agentBuilds[0]!.context).toEqual({ folder: "/home/me/box" })
    expect(plan.agentBuilds[1]!.args.BASE).toBe(plan.agentBuilds[0]!.tag)
  })

  test("may build on ours by declaring BOTTLE_AGENT", () => {
    const plan = planImages(inputs({ agent: custom("ARG BOTTLE_AGENT\nFROM $BOTTLE_AGENT\n") }))
    expect(plan.agentBuilds.map((build) => build.title)).toEqual([
      "claude",
      "/home/me/box/Dockerfile",
      "agent",
    ])
    expect(plan.agentBuilds[1]!.args.BOTTLE_AGENT).toBe(plan.agentBuilds[0]!.tag)
  })

  test("gets another tag when its text or its folder changes", () => {
    const tag = (base: AgentBase) => planImages(inputs({ agent: base })).agent
    expect(tag(custom("FROM a", "1"))).toBe(tag(custom("FROM a", "1")))
    expect(tag(custom("FROM a", "1"))).not.toBe(tag(custom("FROM b", "1")))
    expect(tag(custom("FROM a", "1"))).not.toBe(tag(custom("FROM a", "2")))
  })
})

describe("an image of the user's", () => {
  const image = (inner: string | undefined): AgentBase => ({
    kind: "image",
    reference: "mine:1",
    id: `sha256:${"a".repeat(64)}`,
    inner,
  })

  test("gets the inner layer, on its id and not on its name", () => {
    const plan = planImages(inputs({ agent: image(undefined) }))
    expect(plan.agentBuilds).toHaveLength(1)
    expect(plan.agentBuilds[0]!.tagFirst).toEqual({
      id: `sha256:${"a".repeat(64)}`,
      tag: "bottle-base:aaaaaaaaaaaa",
    })
    expect(plan.agentBuilds[0]!.args.BASE).toBe("bottle-base:aaaaaaaaaaaa")
  })

  test("is used as it is when it has this inner layer, and gets it again when it has an older one", () => {
    const hash = planImages(inputs({ agent: image(undefined) })).agentBuilds[0]!.args.INNER_HASH!
    expect(planImages(inputs({ agent: image(hash) }))).toMatchObject({ agent: "mine:1", agentBuilds: [] })
    expect(planImages(inputs({ agent: image("0123456789ab") })).agentBuilds).toHaveLength(1)
  })

  test("takes the gateway's place without a build", () => {
    expect(planImages(inputs({ gatewayImage: "gw:1" }))).toMatchObject({ gateway: "gw:1", gatewayBuilds: [] })
  })
})

test("a Dockerfile reads its context when it copies from it or binds it, and not otherwise", () => {
  for (const text of [
    "FROM a\nCOPY . /x",
    "FROM a\nadd --chown=1:1 file /x",
    "FROM a\nONBUILD COPY . /x",
    "FROM a\nRUN --mount=type=bind,target=/x make",
    "FROM a\nRUN --mount=target=/x make",
    "FROM a\nCOPY \\\n  file /x",
  ]) {
    expect(readsContext(text), text).toBe(true)
  }
  for (const text of [
    "FROM a\nRUN apt-get update",
    "FROM a AS b\nFROM a\nCOPY --from=b /x /x",
    "FROM a\nRUN --mount=type=cache,target=/x make",
    "# COPY . /x\nFROM a",
  ]) {
    expect(readsContext(text), text).toBe(false)
  }
})

test("a hash depends on values and not on the order of keys", () => {
  expect(contentHash({ a: 1, b: { c: [1, 2], d: 2 } })).toBe(contentHash({ b: { d: 2, c: [1, 2] }, a: 1 }))
  expect(contentHash({ a: [1, 2] })).not.toBe(contentHash({ a: [2, 1] }))
})
