/** A daemon of the gateway has been taken over by what it parsed: it tries the rest of its gateway. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { CA_CERT, LIFELINE_SOCKET, SOCKET_DIR } from "../../src/policy/paths.ts"
import { run } from "../../src/runtime/spawn.ts"
import { createWorld, type World } from "../docker/world.ts"
import { type Bottle, docker, type Outcome, startBottle } from "./bottle.ts"

const EGRESS_UID = 9099
const ATTACKS = readFileSync(join(import.meta.dir, "attacker", "daemon.js"), "utf8")

let world: World
let bottle: Bottle

beforeAll(async () => {
  world = await createWorld()
  bottle = await startBottle(world)
}, 600_000)

afterAll(async () => {
  await bottle?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
}, 120_000)

/** Runs an attack in the gateway; as egress by default, with what init leaves a daemon. */
async function attack(name: string, arg: unknown = {}, user: "egress" | "root" = "egress"): Promise<Outcome> {
  const asUser =
    user === "root" ? [] : ["setpriv", `--reuid=${EGRESS_UID}`, `--regid=${EGRESS_UID}`, "--clear-groups"]
  const bun = ["/opt/bottle/bun", "--no-env-file", "--no-install", "run", "-"]
  const argv = [
    "docker",
    "exec",
    "-i",
    "-u",
    "0",
    bottle.gateway,
    ...asUser,
    ...bun,
    name,
    JSON.stringify(arg),
  ]
  const ran = await run(argv, { input: ATTACKS })
  if (ran.code !== 0) throw new Error(`${name} did not run: ${ran.stderr}`)
  return JSON.parse(ran.stdout) as Outcome
}

const FIELDS = ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp"]
const NONE = "0000000000000000"

describe("egress, taken over", () => {
  test("looks at itself, and is nobody with no capability and no way to one", async () => {
    const own = {
      Uid: "9099\t9099\t9099\t9099",
      Gid: "9099\t9099\t9099\t9099",
      Groups: " ",
      CapInh: NONE,
      CapPrm: NONE,
      CapEff: NONE,
      CapAmb: NONE,
      NoNewPrivs: "1",
      Seccomp: "2",
    }
    expect(await attack("status", { of: "egress", fields: FIELDS })).toEqual({ got: own })
    // The attacks below run with the same.
    expect(await attack("status", { fields: FIELDS })).toEqual({ got: own })
    const root = (await attack("status", { fields: FIELDS }, "root")) as { got: Record<string, string> }
    expect(root.got.CapEff).not.toBe(NONE)
  })

  for (const [name, sentence, refused] of [
    ["environmentOfInit", "reads init's environment", "EACCES"],
    ["memoryOfInit", "reads init's memory, where the credentials are kept", "EACCES"],
    ["filesOfInit", "reaches for init's open files", "EACCES"],
    ["rootOfInit", "goes through init's root", "EACCES"],
    ["traceInit", "traces init", "EPERM"],
    ["signalInit", "signals init", "EPERM"],
    ["readLedger", "reads the ledger", "EACCES"],
    ["forgeLedger", "writes into the ledger", "EACCES"],
    ["connectControl", "gives init orders over the control socket", "EACCES"],
  ] as const) {
    test(`${sentence}, and may not`, async () => {
      expect(await attack(name)).toEqual({ refused })
      expect(await attack(name, {}, "root")).toHaveProperty("got")
    })
  }

  for (const [name, sentence, arg] of [
    ["createIn", "writes beside the folders of sockets", { folder: SOCKET_DIR }],
    ["createIn", "writes among init's files", { folder: `${SOCKET_DIR}/init` }],
    ["createIn", "writes beside the control socket", { folder: "/run/bottle/control" }],
    ["createIn", "writes beside the ledger", { folder: "/var/lib/bottle" }],
    ["overwrite", "gives the sandbox another certificate to trust", { path: CA_CERT }],
    ["listenAt", "waits for inner in init's place", { path: LIFELINE_SOCKET }],
  ] as const) {
    test(`${sentence}, and may not`, async () => {
      expect(await attack(name, arg)).toEqual({ refused: "EACCES" })
      expect(await attack(name, arg, "root")).toHaveProperty("got")
    })
  }

  test("changes the program that is started in its place, and the file system is read-only", async () => {
    const program = { path: "/opt/bottle/gateway.js" }
    expect(await attack("overwrite", program)).toHaveProperty("refused")
    expect(await attack("overwrite", program, "root")).toEqual({ refused: "EROFS" })
    const image = (await docker("inspect", "--format", "{{.Config.Image}}", bottle.gateway)).trim()
    const open = ["run", "--rm", "--network=none", "--entrypoint=/bin/sh", image]
    expect(await docker(...open, "-c", `: >>${program.path} && echo opened`)).toBe("opened\n")
  })

  test("may write to its own folder, so that the refusals are not for want of trying right", async () => {
    expect(await attack("createIn", { folder: `${SOCKET_DIR}/egress` })).toEqual({ got: "created" })
  })
})

describe("the gateway's environment", () => {
  test("of init holds no credential and no proxy", async () => {
    const { got } = (await attack("environment", { of: "init" }, "root")) as { got: string[] }
    expect(got).toContainEqual(expect.stringMatching(/^PATH=/))
    expect(got.filter((entry) => /proxy/i.test(entry) || entry.includes(world.token))).toEqual([])
  })

  test("of egress is empty", async () => {
    expect(await attack("environment", { of: "egress" })).toEqual({ got: [] })
  })
})
