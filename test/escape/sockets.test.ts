/** The agent tries to change, take or find the few sockets and files that its sandbox shares with the gateway. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { namesOf } from "../../src/backend/docker/names.ts"
import {
  AGENT_HOME,
  CA_BUNDLE,
  CA_CERT,
  CA_JAVA,
  CONTROL_SOCKET,
  EGRESS_SOCKET,
  LIFELINE_SOCKET,
  SESSION_SOCKET,
  SOCKET_DIR,
  WORKSPACE,
} from "../../src/policy/paths.ts"
import { createWorld, type World } from "../docker/world.ts"
import { type AgentService, type Bottle, docker, type Sandbox, startBottle, startControl } from "./bottle.ts"

/** What a whole bottle has of sockets, the attacker's own included */
const SOCKETS = [EGRESS_SOCKET, SESSION_SOCKET, "/tmp/attacker.sock"]

let world: World
let bottle: Bottle
/** The sandbox with the bottle's own sockets, its mount writable: who they belong to is all that guards them */
let writable: Sandbox
/** The same as root, to whom all but egress' folder belongs */
let writableAsRoot: Sandbox
/** As root, on the mount that bottles have */
let readOnlyAsRoot: Sandbox

beforeAll(async () => {
  world = await createWorld()
  bottle = await startBottle(world)
  ;[writable, writableAsRoot, readOnlyAsRoot] = await Promise.all([
    startControlAt(bottle, mountWritable),
    startControlAt(bottle, mountWritable, as("0:0")),
    startControlAt(bottle, as("0:0")),
  ])
}, 600_000)

afterAll(async () => {
  for (const part of [readOnlyAsRoot, writableAsRoot, writable, bottle, world])
    await part?.[Symbol.asyncDispose]()
}, 120_000)

const as = (user: string) => (agent: AgentService) => {
  agent.user = user
}
const mountWritable = (agent: AgentService) => {
  for (const entry of agent.volumes) if (typeof entry === "object") entry.read_only = false
}

/** A control that has the sockets of a living bottle in the place of its own. */
function startControlAt(of: Bottle, ...edits: ((agent: AgentService) => void)[]): Promise<Sandbox> {
  const sockets = namesOf(of.identity).volumes.sock
  return startControl(
    of,
    (agent) => {
      for (const edit of edits) edit(agent)
    },
    { sockets },
  )
}

function files(sandbox: Sandbox, name: string, arg: unknown = {}) {
  return sandbox.attack("files.py", name, arg)
}

describe("the agent", () => {
  for (const [name, sentence, arg] of [
    ["create_in", "puts a file beside the sockets", { folder: SOCKET_DIR }],
    ["create_in", "puts a file among the certificates", { folder: `${SOCKET_DIR}/init` }],
    ["listen_in", "listens in the folder of the lifeline", { folder: `${SOCKET_DIR}/init` }],
    ["replace", "replaces the folder of the egress socket", { path: `${SOCKET_DIR}/egress` }],
    ["replace", "replaces the bottle's certificate", { path: CA_CERT }],
    ["overwrite", "overwrites the bottle's certificate", { path: CA_CERT }],
    ["overwrite", "overwrites the bundle of certificates", { path: CA_BUNDLE }],
    ["overwrite", "overwrites Java's certificates", { path: CA_JAVA }],
    ["change_mode", "opens the certificates' folder to itself", { path: `${SOCKET_DIR}/init` }],
  ] as const) {
    test(`${sentence}, and the mount is read-only`, async () => {
      const { refused } = await files(bottle, name, arg)
      expect(["EROFS", "EACCES"]).toContain(refused as string)
      expect(await files(readOnlyAsRoot, name, arg)).toEqual({ refused: "EROFS" })
      // Were it writable, the owner would still be another.
      expect(["EACCES", "EPERM"]).toContain((await files(writable, name, arg)).refused as string)
      expect(await files(writableAsRoot, name, arg)).toHaveProperty("got")
    })
  }

  test("deletes or replaces the egress socket itself, and cannot", async () => {
    const { refused } = await files(bottle, "replace", { path: EGRESS_SOCKET })
    expect(refused).toBe("EROFS")
    expect(await files(bottle, "delete", { path: EGRESS_SOCKET })).toEqual({ refused: "EROFS" })
    expect(await files(bottle, "connect_to_socket", { path: EGRESS_SOCKET })).toEqual({ got: "connected" })
    await using owner = await startControlAt(bottle, mountWritable, as("9099:9099"))
    expect(await files(owner, "replace", { path: EGRESS_SOCKET })).toEqual({ got: "replaced" })
  })

  test("looks for the lifeline to take it, and it is gone", async () => {
    expect(await files(bottle, "listing", { folders: [SOCKET_DIR, `${SOCKET_DIR}/init`] })).toEqual({
      got: {
        [SOCKET_DIR]: ["egress", "init"],
        [`${SOCKET_DIR}/init`]: ["ca-bundle.pem", "ca.jks", "ca.pem", "session.sock"],
      },
    })
    expect(await files(bottle, "connect_to_socket", { path: LIFELINE_SOCKET })).toEqual({ refused: "ENOENT" })
  })

  test("would have the lifeline if it came before inner, and nobody after it", async () => {
    const image = (await docker("inspect", "--format", "{{.Config.Image}}", bottle.gateway)).trim()
    await using early = await startControl(bottle, () => {})
    const sockets = `${early.container.replace(/-agent$/, "-sock")}:${SOCKET_DIR}`
    const gateway = (await docker("run", "--detach", "--network=none", "--volume", sockets, image)).trim()
    await using _ = { [Symbol.asyncDispose]: async () => void (await docker("rm", "--force", gateway)) }
    const attempt = () => files(early, "connect_to_socket", { path: LIFELINE_SOCKET })
    let outcome = await attempt()
    while (outcome.refused === "ENOENT" || outcome.refused === "ECONNREFUSED") outcome = await attempt()
    expect(outcome).toEqual({ got: "connected" })
    expect(await attempt()).toEqual({ refused: "ENOENT" })
  })

  test("looks for sockets, and finds its gateway's and its own", async () => {
    expect(await files(bottle, "sockets")).toEqual({ got: SOCKETS })
    expect(await files(bottle, "connect_to_socket", { path: CONTROL_SOCKET })).toEqual({ refused: "ENOENT" })
    await using open = await startControl(bottle, (agent) => {
      agent.volumes.push("/var/run/docker.sock:/run/docker.sock")
    })
    expect(await files(open, "sockets")).toEqual({ got: ["/run/docker.sock", "/tmp/attacker.sock"] })
  })

  test("writes wherever it can, and that is its home, its workspace and places that hold nothing", async () => {
    const { got } = (await files(bottle, "writable_places")) as { got: string[] }
    const devices = got.filter((path) => path.startsWith("/dev/"))
    // A socket is written to by connecting, which is what the agent may do with these.
    expect(got.filter((path) => !path.startsWith("/dev/"))).toEqual([
      AGENT_HOME,
      EGRESS_SOCKET,
      SESSION_SOCKET,
      "/tmp",
      WORKSPACE,
    ])
    const harmless = ["full", "mqueue", "null", "ptmx", "pts/ptmx", "random", "shm", "tty", "urandom", "zero"]
    const own = new RegExp(`^/dev/(console|pts/\\d+|${harmless.join("|")})$`)
    expect(devices.filter((path) => !own.test(path))).toEqual([])
    await using open = await startControl(bottle, (agent) => {
      agent.read_only = false
    })
    expect((await files(open, "writable_places")).got).toContain("/srv/open")
  })
})

describe("another bottle's agent", () => {
  test("looks for the first bottle's sockets, and has its own alone", async () => {
    await using other = await startBottle(world)
    const certificate = async (sandbox: Sandbox) => (await sandbox.run(["cat", CA_CERT])).stdout
    const first = await certificate(bottle)
    expect(await certificate(other)).toContain("BEGIN CERTIFICATE")
    expect(await certificate(other)).not.toBe(first)
    expect(await files(other, "sockets")).toEqual({ got: SOCKETS })
    const { sock } = namesOf(bottle.identity).volumes
    const mounts = await docker("inspect", "--format", "{{json .Mounts}}", other.container)
    expect(mounts).not.toContain(sock)
    // With the first one's sockets it would speak to the first one's gateway.
    expect(await certificate(writable)).toBe(first)
    expect(await files(writable, "connect_to_socket", { path: EGRESS_SOCKET })).toEqual({ got: "connected" })
  })
})
