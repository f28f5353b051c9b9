/** The agent tries to change, take, imitate or end the gateway, and to reach that of another bottle. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, readdirSync, rmSync, watch } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { SessionBroker } from "../../../sidecars/init/session-broker.ts"
import {
  CA_BUNDLE,
  CA_CERT,
  CONTROL_SOCKET,
  EGRESS_PORT,
  EGRESS_SOCKET,
  LIFELINE_SOCKET,
  SESSION_SOCKET,
  SOCKET_DIR,
} from "../../../src/policy/paths.ts"
import { run } from "../../../src/runtime/spawn.ts"
import {
  type Bottle,
  type Control,
  control,
  type Edit,
  forEachCaller,
  host,
  outside,
  processesOf,
  startBottle,
  withMounts,
  without,
} from "./bottle.ts"

/** The gateway's sockets on a mount that may be written to. */
const writable: Edit = (options) => {
  const at = options.findIndex((option, n) => option === "--ro-bind" && options[n + 2] === SOCKET_DIR)
  return options.with(at, "--bind")
}

/** A control with the files of a bottle's gateway in the place of its own. */
async function withSocketsOf(bottle: Bottle, edits: Edit[], uid: number): Promise<Control> {
  const made = control(edits, { uid })
  await host("cp", "--archive", "--no-target-directory", join(bottle.dir, "sock"), made.folders.sockets)
  return made
}

forEachCaller((caller) => {
  let bottle: Bottle
  let writableSockets: Control
  /** As the user that they belong to, on the mount that bottles have */
  let readOnlySockets: Control

  beforeAll(async () => {
    bottle = await startBottle(caller().world)
    const owner = caller().world.as?.uid ?? 0
    writableSockets = await withSocketsOf(bottle, [writable], owner)
    readOnlySockets = await withSocketsOf(bottle, [], owner)
  })
  afterAll(async () => {
    readOnlySockets?.[Symbol.dispose]()
    writableSockets?.[Symbol.dispose]()
    await bottle?.[Symbol.asyncDispose]()
  })

  const files = (name: string, arg: unknown = {}) => bottle.attack("files.py", name, arg)

  describe("the agent", () => {
    for (const [name, sentence, arg] of [
      ["create_in", "puts a file beside the sockets", { folder: SOCKET_DIR }],
      ["create_in", "puts a file among the certificates", { folder: `${SOCKET_DIR}/init` }],
      ["listen_in", "listens in the folder of the lifeline", { folder: `${SOCKET_DIR}/init` }],
      ["replace", "replaces the folder of the egress socket", { path: `${SOCKET_DIR}/egress` }],
      ["delete", "deletes the session socket", { path: SESSION_SOCKET }],
      ["replace", "replaces the bottle's certificate", { path: CA_CERT }],
      ["overwrite", "overwrites the bundle of certificates", { path: CA_BUNDLE }],
      ["change_mode", "opens the certificates' folder to itself", { path: `${SOCKET_DIR}/init` }],
    ] as const) {
      test(`${sentence}, and the mount is read-only`, async () => {
        // Root's bottle is not the owner either, and for some of these that is asked first.
        expect(await files(name, arg)).toEqual({ refused: expect.stringMatching(/^(EROFS|EACCES)$/) })
        // To their owner too, and to nobody else is the mount the one thing that guards them.
        expect(await readOnlySockets.attack("files.py", name, arg)).toEqual({ refused: "EROFS" })
        expect(await writableSockets.attack("files.py", name, arg)).toHaveProperty("got")
      })
    }

    test("moves the folder that holds the sockets away, to put its own there, and may not", async () => {
      expect(await files("replace", { path: "/run/bottle" })).toEqual({ refused: "EBUSY" })
      expect(await files("replace", { path: SOCKET_DIR })).toEqual({
        refused: expect.stringMatching(/^(EBUSY|EROFS)$/),
      })
      using open = control([withMounts("--dir", "/run/other")])
      expect(await open.attack("files.py", "replace", { path: "/run/other" })).toEqual({ got: "replaced" })
    })

    test("looks for sockets, and finds its gateway's alone: no lifeline, no control socket", async () => {
      expect(await files("sockets")).toEqual({ got: [EGRESS_SOCKET, SESSION_SOCKET] })
      const control = { path: "/srv/gateway/control/control.sock" }
      for (const path of [CONTROL_SOCKET, LIFELINE_SOCKET, control.path])
        expect(await files("connect_to_socket", { path })).toEqual({ refused: "ENOENT" })
      using open = withStateOf(bottle, caller().world.as?.uid ?? 0)
      expect(await open.attack("files.py", "connect_to_socket", control)).toEqual({ got: "connected" })
    })

    test("asks for a session with a token of its own making, and is shown the door", async () => {
      const guess = {
        path: SESSION_SOCKET,
        say: `${JSON.stringify({ token: "0".repeat(32) })}\n`,
        listen: true,
      }
      expect(await files("connect_to_socket", guess)).toEqual({ got: "" })
      const folder = mkdtempSync(join(tmpdir(), "bottle-session-"))
      using _ = { [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
      using broker = new SessionBroker(join(folder, "session.sock"))
      await broker.listen()
      const told = Promise.withResolvers<string>()
      const joined = broker.open((token) => {
        told.resolve(token)
        return true
      })
      const known = {
        path: join(folder, "session.sock"),
        say: `${JSON.stringify({ token: await told.promise })}\n`,
      }
      const attempt = outside().attack("files.py", "connect_to_socket", { ...known, listen: true })
      ;(await joined).end("joined")
      expect(await attempt).toEqual({ got: "joined" })
    })

    test("listens on the proxy's port before it, and the port is taken", async () => {
      const listen = [
        "python3",
        "-c",
        `import socket; s=socket.socket(); s.setsockopt(1,2,1); s.setsockopt(1,15,1); s.bind(("127.0.0.1",${EGRESS_PORT})); s.listen(); print("listens")`,
      ]
      expect((await bottle.run(listen)).stderr).toContain("Address already in use")
      using open = control()
      expect((await open.run(listen)).stdout).toBe("listens\n")
    })

    test("holds every connection that its relay takes, and neither gateway nor user waits for it", async () => {
      const told = watch(join(bottle.dir, "workspace"))
      const held = once(told, "change")
      const holding = bottle.attack("gateway.py", "hold_connections", { port: EGRESS_PORT, count: 2200 })
      const { world } = caller()
      await Promise.race([held, holding])
      told.close()
      expect((await world.bottle("routes", "show", bottle.identity)).code).toBe(0)
      expect(await world.inside(bottle.identity, "echo still here")).toBe("still here")
      const { got } = (await holding) as { got: { held: number } }
      expect(got.held).toBeGreaterThan(100)
      // What it let go of is served again.
      expect(await bottle.attack("gateway.py", "ask", { port: EGRESS_PORT })).toEqual({
        got: expect.stringContaining("HTTP/1.1"),
      })
    })

    test("stands in the door of its sessions, where no other comes in, and a stop ends it all the same", async () => {
      const { world } = caller()
      await using open = await startBottle(world)
      expect(await open.run(["true"])).toMatchObject({ code: 0 })
      const told = watch(join(open.dir, "workspace"))
      const stands = once(told, "change")
      const standing = open.attack("gateway.py", "stand_in_the_door", { path: SESSION_SOCKET })
      standing.catch(() => {})
      await Promise.race([stands, standing])
      told.close()
      const { keeper } = await processesOf(open)
      expect(await world.bottle("stop", open.identity)).toMatchObject({ code: 0 })
      await gone(keeper)
    })

    test("sends open files to its gateway, and none arrives there", async () => {
      const before = openFiles((await processesOf(bottle)).egress)
      expect(await bottle.attack("gateway.py", "send_descriptors", { path: EGRESS_SOCKET })).toHaveProperty(
        "got",
      )
      expect(openFiles((await processesOf(bottle)).egress)).toBeLessThanOrEqual(before + 1)
      using receiver = await descriptorReceiver()
      expect(
        await outside().attack("gateway.py", "send_descriptors", { path: receiver.path }),
      ).toHaveProperty("got")
      expect(await receiver.received).toBeGreaterThan(0)
    })
  })

  describe("another bottle's agent", () => {
    test("looks for the first bottle's sockets, folders and processes, and has its own alone", async () => {
      await using other = await startBottle(caller().world)
      const certificate = async (of: Pick<Bottle, "run">) => (await of.run(["cat", CA_CERT])).stdout
      const first = await certificate(bottle)
      expect(await certificate(other)).toContain("BEGIN CERTIFICATE")
      expect(await certificate(other)).not.toBe(first)
      expect(await other.attack("files.py", "sockets")).toEqual({ got: [EGRESS_SOCKET, SESSION_SOCKET] })
      const paths = ["sock/egress/egress.sock", "workspace", "agent"].map((name) => join(bottle.dir, name))
      expect(await other.attack("host.py", "read_any", { paths })).toEqual({
        refused: Object.fromEntries(paths.map((path) => [path, "ENOENT"])),
      })
      const words = [bottle.identity, other.identity]
      expect(await other.attack("host.py", "names_of_the_host", { words })).toEqual({ got: [other.identity] })
      // With the first one's sockets it would speak to the first one's gateway.
      expect(await certificate(readOnlySockets)).toBe(first)
      using open = withStateOf(bottle, caller().world.as?.uid ?? 0)
      const path = "/srv/sock/egress/egress.sock"
      expect(await open.attack("files.py", "connect_to_socket", { path })).toEqual({ got: "connected" })
    })

    test("has another user on the host when root started both, and so not even the right to try", async () => {
      await using other = await startBottle(caller().world)
      const [one, two] = [bottle, other].map((each) => caller().agentUid(each))
      // An ordinary user's bottles are all that user's own: namespaces alone are between them.
      expect(one === two).toBe(caller().ordinary)
    })
  })

  describe("the bottle ends, its gateway too and nothing else", () => {
    for (const [how, command] of [
      ["kills inner", ["bash", "-c", "kill -9 2"]],
      ["kills all that it can", ["bash", "-c", "kill -9 -1"]],
    ] as const) {
      test(`when the agent ${how}`, async () => {
        const ending = await startBottle(caller().world)
        const uid = caller().agentUid(ending)
        const bystander = spawn("/bin/sleep", ["60"], { uid, gid: uid, stdio: "ignore" })
        using _ = { [Symbol.dispose]: () => void bystander.kill("SIGKILL") }
        const { keeper } = await processesOf(ending)
        await ending.run([...command]).catch(() => {})
        await gone(keeper)
        expect(bystander.exitCode ?? bystander.signalCode).toBe(null)
        expect((await caller().world.objects.remains()).running).not.toContain(ending.identity)
        await caller().world.bottle("stop", ending.identity)
      })
    }

    test("and would not be the only one to end without a process namespace", async () => {
      const uid = randomInt(620_000_000, 629_000_000)
      const bystander = spawn("/bin/sleep", ["60"], { uid, gid: uid, stdio: "ignore" })
      using open = control([without("--unshare-pid")], { uid })
      const ended = once(bystander, "exit")
      await open.run(["bash", "-c", "kill -9 -1"])
      expect((await ended)[1]).toBe("SIGKILL")
    })
  })
})

/** A sandbox that sees all of a bottle's state at /srv. */
function withStateOf(bottle: Bottle, uid: number): Control {
  return control([withMounts("--bind", bottle.dir, "/srv")], { uid })
}

/** Resolves when that process is gone. */
async function gone(pid: number): Promise<void> {
  await run(["tail", "--pid", String(pid), "--sleep-interval", "0.05", "--follow", "/dev/null"], {
    timeoutMs: 20_000,
  })
}

function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** A server that takes open files where a socket brings some, and tells how many came. */
async function descriptorReceiver(): Promise<{ path: string; received: Promise<number> } & Disposable> {
  const folder = mkdtempSync(join(tmpdir(), "bottle-receiver-"))
  const path = join(folder, "receiver.sock")
  const serve = `import socket,array
s=socket.socket(socket.AF_UNIX); s.bind("${path}"); s.listen(); print("listens", flush=True)
c=s.accept()[0]; _,found,_,_=c.recvmsg(256, 4096); print(sum(len(data)//4 for _,_,data in found), flush=True); c.send(b"x")`
  const child = spawn("python3", ["-c", serve], { stdio: ["ignore", "pipe", "inherit"] })
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  await lines.next()
  return {
    path,
    received: lines.next().then(({ value }) => Number(value)),
    [Symbol.dispose]: () => {
      child.kill("SIGKILL")
      rmSync(folder, { recursive: true })
    },
  }
}
