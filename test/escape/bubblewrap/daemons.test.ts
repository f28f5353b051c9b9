/**
 * A daemon of the gateway was taken over by what it parsed, and another user of the host looks for bottles: each tries
 * the processes, files and sockets of a bottle from where it stands.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { randomBytes, randomInt } from "node:crypto"
import { readlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { SOCKET_DIR } from "../../../src/policy/paths.ts"
import {
  type Bottle,
  forEachCaller,
  inPlaceOfEgress,
  outside,
  processesOf,
  procFile,
  startBottle,
  without,
} from "./bottle.ts"

const NONE = "0000000000000000"
const FIELDS = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"]
/** What a process shows of itself that nobody else may see */
const INSIDE = ["environ", "mem", "maps", "fd", "root/", "cwd/"]
const BEARER = { name: "ESCAPE_TOKEN", value: randomBytes(24).toString("hex") }
const ROUTE = `egress:
  routes:
    - host: api.example.com
      auth: { scheme: bearer, token: { env: ${BEARER.name} } }`

const reversed = (text: string) => [...text].reverse().join("")

function codes(refused: unknown): unknown[] {
  return typeof refused === "object" && refused !== null ? [...new Set(Object.values(refused))] : [refused]
}

forEachCaller((caller) => {
  let bottle: Bottle

  beforeAll(async () => {
    caller().world.env[BEARER.name] = BEARER.value
    bottle = await startBottle(caller().world, ROUTE)
  })
  afterAll(() => bottle?.[Symbol.asyncDispose]())

  describe("the credential of a route", () => {
    test("is in no environment, argument or memory that the agent can read, where its placeholder is", async () => {
      const search = (needle: string) =>
        bottle.attack("kernel.py", "memory_of_everyone", { reversed: reversed(needle) })
      expect(await search(BEARER.value)).toEqual({ got: [] })
      // The same search finds what the agent does have.
      const { got } = await search("/run/bottle/sock/init/ca.pem")
      expect(got).toContainEqual(expect.stringMatching(/^environ of/))
    })

    test("is in no environment or argument of the bottle's processes on the host, and in no file of it", async () => {
      const pids = Object.values(await processesOf(bottle))
      for (const pid of pids) {
        expect(procFile(pid, "environ") + procFile(pid, "cmdline")).not.toContain(BEARER.value)
      }
      const files = ["grep", "--recursive", "--files-with-matches", "--devices=skip", "--fixed-strings"]
      const inState = await outside().run([...files, BEARER.value, bottle.dir])
      expect(inState).toMatchObject({ code: 1, stdout: "" })
      // The same search finds one that is there.
      writeFileSync(join(bottle.dir, "log", "control"), BEARER.value)
      expect((await outside().run([...files, BEARER.value, bottle.dir])).stdout).toContain("log/control")
    })
  })

  describe("egress", () => {
    test("runs as nobody's root, filtered, without capabilities, and in namespaces of its own but the network's", async () => {
      const { egress, keeper } = await processesOf(bottle)
      const status = procFile(egress, "status")
      const value = (name: string) => new RegExp(`^${name}:\\s*(.+)$`, "m").exec(status)?.[1]
      expect(Object.fromEntries(FIELDS.map((name) => [name, value(name)]))).toEqual({
        ...{ CapInh: NONE, CapPrm: NONE, CapEff: NONE, CapBnd: NONE, CapAmb: NONE },
        ...{ NoNewPrivs: "1", Seccomp: "2" },
      })
      expect(value("Uid")?.startsWith("0\t")).toBe(false)
      const same = (kind: string) =>
        readlinkSync(`/proc/${egress}/ns/${kind}`) === readlinkSync(`/proc/${keeper}/ns/${kind}`)
      const kinds = ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"]
      expect(kinds.filter(same)).toEqual(["net"])
    })

    test("taken over, looks for the keeper and every other process, and sees its own alone", async () => {
      const { keeper } = await processesOf(bottle)
      const arg = { pid: keeper, names: INSIDE }
      using attacker = inPlaceOfEgress(bottle, caller().world)
      expect(codes((await attacker.attack("processes.py", "read_of_a_process", arg)).refused)).toEqual([
        "ENOENT",
      ])
      expect(await attacker.attack("processes.py", "signal_one", { pid: keeper })).toEqual({
        refused: "ESRCH",
      })
      // It would see it without a process namespace, and then be kept out by being another or in another namespace.
      using seeing = inPlaceOfEgress(bottle, caller().world, [without("--unshare-pid")])
      const seen = await seeing.attack("processes.py", "read_of_a_process", arg)
      expect(codes(seen.refused)).not.toContain("ENOENT")
      expect(await outside().attack("processes.py", "read_of_a_process", arg)).toHaveProperty("got")
    })

    test("taken over, looks for the ledger, the control socket, the work and its user's home, and none is there", async () => {
      const { world } = caller()
      const names = ["ledger", "gateway/control/control.sock", "gateway/keeper.pid", "workspace", "agent"]
      const paths = [...names.map((name) => join(bottle.dir, name)), world.home, "/etc/shadow", "/root"]
      using attacker = inPlaceOfEgress(bottle, world)
      expect(codes((await attacker.attack("host.py", "read_any", { paths })).refused)).toEqual(["ENOENT"])
      const connect = { path: join(bottle.dir, "gateway/control/control.sock") }
      expect(await attacker.attack("files.py", "connect_to_socket", connect)).toEqual({ refused: "ENOENT" })
      expect(await outside(world.as).attack("files.py", "connect_to_socket", connect)).toEqual({
        got: "connected",
      })
    })

    test("taken over, writes into its own folder of sockets, and into no other of the bottle", async () => {
      const own = { folder: `${SOCKET_DIR}/egress` }
      const others = [`${SOCKET_DIR}/init`, bottle.dir, join(bottle.dir, "ledger")]
      using attacker = inPlaceOfEgress(bottle, caller().world)
      expect(await attacker.attack("files.py", "create_in", own)).toEqual({ got: "created" })
      for (const folder of others)
        expect(await attacker.attack("files.py", "create_in", { folder })).toEqual({ refused: "ENOENT" })
    })
  })

  describe("another user of the host", () => {
    const uid = randomInt(620_000_000, 629_000_000)
    const stranger = outside({ uid, gid: uid })

    for (const role of ["keeper", "egress", "agent"] as const) {
      test(`reads the environment, memory, files and root of a bottle's ${role}, and may not`, async () => {
        const pid = (await processesOf(bottle))[role]
        for (const name of INSIDE) {
          const arg = { pid, names: [name] }
          const { refused } = await stranger.attack("processes.py", "read_of_a_process", arg)
          expect([name, ...codes(refused)]).toEqual([name, expect.stringMatching(/^(EACCES|EPERM)$/)])
        }
        expect(await stranger.attack("processes.py", "signal_one", { pid })).toEqual({ refused: "EPERM" })
        const arg = { pid, names: ["environ"] }
        expect(await outside().attack("processes.py", "read_of_a_process", arg)).toHaveProperty("got")
        expect(await outside().attack("processes.py", "signal_one", { pid })).toEqual({ got: "may" })
      })
    }

    test("reaches for the bottle's sockets, state and ledger, and may not enter", async () => {
      const sockets = ["sock/egress/egress.sock", "sock/init/session.sock", "gateway/control/control.sock"]
      for (const name of sockets) {
        const arg = { path: join(bottle.dir, name) }
        expect(await stranger.attack("files.py", "connect_to_socket", arg)).toEqual({ refused: "EACCES" })
        expect(await outside(caller().world.as).attack("files.py", "connect_to_socket", arg)).toHaveProperty(
          "got",
        )
      }
      const paths = ["ledger", "log/gateway.log", "metadata.json", "workspace"].map((name) =>
        join(bottle.dir, name),
      )
      expect(codes((await stranger.attack("host.py", "read_any", { paths })).refused)).toEqual(["EACCES"])
      expect(await outside(caller().world.as).attack("host.py", "read_any", { paths })).toHaveProperty("got")
    })

    test("reads options and environment of the sandboxes off the process list, and learns no more than that they run", async () => {
      const list = 'for at in /proc/[0-9]*; do tr "\\0\\n" "  " <$at/cmdline; echo; done 2>/dev/null'
      const listed = (await stranger.run(["bash", "-c", list])).stdout
      const lines = listed.split("\n").filter((line) => line.includes("bwrap"))
      expect(lines.length).toBeGreaterThan(0)
      expect(lines.filter((line) => line.includes(bottle.dir) || line.includes(BEARER.value))).toEqual([])
    })
  })
})
