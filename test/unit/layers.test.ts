import { expect, test } from "bun:test"
import { importsOf, layerFaults } from "../../scripts/layers.ts"

const faultsOf = (files: Record<string, string>) => layerFaults(new Map(Object.entries(files)))

test("what points down passes", () => {
  const faults = faultsOf({
    "src/main.ts": `import { verbs } from "./cli/verbs.ts"`,
    "src/cli/verbs.ts": `export const verbs = () => import("./start.ts")`,
    "src/cli/start.ts": `import { start } from "../session/start.ts"; import type { Plan } from "../bottle/plan.ts"`,
    "src/session/start.ts": `import { docker } from "../backend/docker.ts"`,
    "src/backend/docker.ts": `import { run } from "../runtime/run.ts"; import { x } from "../policy/x.ts"`,
    "sidecars/egress/main.ts": `import { x } from "../../src/policy/x.ts"; import "./other.ts"`,
    "src/policy/x.ts": `import { z } from "zod"; import { isIP } from "./ip.ts"`,
  })
  expect(faults).toEqual([])
})

const broken: [string, string, string, string][] = [
  ["a backend that calls a verb", "src/backend/docker.ts", `import "../cli/start.ts"`, "knows nothing"],
  [
    "a type from above",
    "src/bottle/plan.ts",
    `import type { B } from "../backend/types.ts"`,
    "knows nothing",
  ],
  ["a type named inline", "src/bottle/plan.ts", `type B = import("../backend/types.ts").B`, "knows nothing"],
  ["a re-export from above", "src/manifest/a.ts", `export * from "../gateway/ca.ts"`, "knows nothing"],
  ["a lazy import from above", "src/gateway/a.ts", `await import("../tui/model.ts")`, "knows nothing"],
  ["runtime that knows the policy", "src/runtime/a.ts", `import "../policy/x.ts"`, "knows nothing"],
  [
    "policy that reads files",
    "src/policy/x.ts",
    `import { readFile } from "node:fs/promises"`,
    "policy is pure",
  ],
  ["policy that uses the runtime", "src/policy/x.ts", `import "../runtime/run.ts"`, "policy is pure"],
  [
    "a sidecar that uses the host program",
    "sidecars/init/main.ts",
    `import "../../src/gateway/ca.ts"`,
    "alone",
  ],
  [
    "a daemon that reads another's files",
    "sidecars/init/main.ts",
    `import "../egress/main.ts"`,
    "stands apart",
  ],
  [
    "a host program that loads a sidecar",
    "src/gateway/a.ts",
    `import "../../sidecars/inner.ts"`,
    "of their own",
  ],
  [
    "Bun outside the runtime",
    "src/gateway/a.ts",
    `import { serve } from "bun"`,
    "only src/runtime touches Bun",
  ],
  [
    "a program that needs its tests",
    "src/cli/a.ts",
    `import "../../test/fixtures/a.ts"`,
    "tests and scripts",
  ],
  ["a folder without a layer", "src/cli/a.ts", `import "../utils/a.ts"`, "no place"],
  ["an import that nothing can follow", "src/cli/a.ts", `await import(name)`, "does not name a file"],
  ["a file that does not parse", "src/cli/a.ts", `import from from from`, "src/cli/a.ts"],
]
for (const [name, file, text, fault] of broken) {
  test(`${name} is a fault`, () => {
    const faults = faultsOf({ [file]: text })
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(file)
    expect(faults[0]).toContain(fault)
  })
}

test("a circle is told once, and types and lazy imports make none", () => {
  const circle = faultsOf({
    "src/cli/a.ts": `import "./b.ts"`,
    "src/cli/b.ts": `import "./c.ts"`,
    "src/cli/c.ts": `import "./a.ts"`,
    "src/cli/d.ts": `import "./b.ts"`,
  })
  expect(circle).toHaveLength(1)
  expect(circle[0]).toStartWith("src/cli/a.ts -> src/cli/b.ts -> src/cli/c.ts -> src/cli/a.ts")
  const none = faultsOf({
    "src/cli/a.ts": `import type { B } from "./b.ts"; export const b = () => import("./b.ts")`,
    "src/cli/b.ts": `import "./a.ts"`,
  })
  expect(none).toEqual([])
})

test("every form of import is seen", () => {
  const text = `import a from "a"; import type { B } from "b"; import { type C } from "c"; import "d"
export * from "e"; export { f } from "f"; export type { G } from "g"; const h = await import("h")
type I = import("i").I; await using j = h`
  expect(importsOf("x.ts", text).sort((x, y) => (x.to < y.to ? -1 : 1))).toEqual([
    { to: "a", kind: "static" },
    { to: "b", kind: "type" },
    { to: "c", kind: "type" },
    { to: "d", kind: "static" },
    { to: "e", kind: "static" },
    { to: "f", kind: "static" },
    { to: "g", kind: "type" },
    { to: "h", kind: "dynamic" },
    { to: "i", kind: "type" },
  ])
})
