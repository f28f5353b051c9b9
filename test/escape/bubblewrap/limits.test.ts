/** The agent uses up what it can: processes, memory, the disk. */
import { afterEach, describe, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readdirSync, readFileSync, statfsSync, watch } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { WORKSPACE } from "../../../src/policy/paths.ts"
import { type RunResult, run } from "../../../src/runtime/spawn.ts"
import { bottleNamed, control, forEachCaller, PROGRAM, startBottle, type World } from "./bottle.ts"

const MIB = 2 ** 20
const PIDS = 128
const MEMORY_MIB = 256
const DISK_MIB = 64

forEachCaller((caller) => {
  afterEach(() => caller().world.discardAll())

  describe("the agent", () => {
    test("forks without end, and its limit ends it while the gateway, the host and another bottle go on", async () => {
      const { world } = caller()
      await using other = await startBottle(world)
      await using bottle = await startBottle(world, `limits: { pids: ${PIDS} }`)
      const full = watch(join(bottle.dir, "workspace"))
      const tell = { up_to: 4 * PIDS, tell: `${WORKSPACE}/full`, keep_seconds: 2 }
      const forks = bottle.attack("kernel.py", "processes_at_once", tell)
      await Promise.race([once(full, "change"), forks])
      full.close()
      expect((await world.bottle("routes", "show", bottle.identity)).code).toBe(0)
      expect(await other.run(["true"])).toMatchObject({ code: 0 })
      expect(await forks).toEqual({ refused: "EAGAIN" })
      expect(await bottle.run(["true"])).toMatchObject({ code: 0 })
      using open = control()
      expect(await open.attack("kernel.py", "processes_at_once", { up_to: 4 * PIDS })).toEqual({
        got: 4 * PIDS,
      })
    })

    test("raises the limit of processes, and may not", async () => {
      await using bottle = await startBottle(caller().world, `limits: { pids: ${PIDS} }`)
      const raise = ["python3", "-c", "import resource as r; r.setrlimit(r.RLIMIT_NPROC, (9999, 9999))"]
      expect((await bottle.run(raise)).stderr).toContain("not allowed to raise maximum limit")
      using open = control()
      expect(await open.run(raise)).toMatchObject({ code: 0 })
    })

    test("fills memory beyond its limit and is ended for it; or the preflight has said that nothing would end it", async () => {
      const { world } = caller()
      world.manifest("sh", `limits: { memory: ${MEMORY_MIB}m }`)
      const started = await world.start("exec sleep infinity", { args: ["--detach"] })
      const much = { bytes: 2 * MEMORY_MIB * MIB }
      const filled = await bottleNamed(world, started.stdout.trim()).attack(
        "kernel.py",
        "memory_at_once",
        much,
      )
      const unlimited = started.stderr.includes("limits not enforced here: memory")
      expect(filled).toEqual(unlimited ? { got: "filled" } : { refused: "MemoryError: it was ended with -9" })
      using open = control()
      expect(await open.attack("kernel.py", "memory_at_once", much)).toEqual({ got: "filled" })
    })

    test("fills its folders in memory, and each ends at its size", async () => {
      const { world } = caller()
      await using bottle = await startBottle(world, `limits: { memory: ${MEMORY_MIB}m }`)
      for (const folder of ["/tmp", "/dev/shm", "/run"]) {
        const room = await bottle.run(["stat", "-f", "-c", "%b %S", folder])
        const [blocks = 0, size = 0] = room.stdout.trim().split(" ").map(Number)
        expect(blocks * size).toBeLessThanOrEqual((MEMORY_MIB / 2) * MIB)
      }
      using open = control()
      const filled = await open.attack("host.py", "fill", { folder: "/tmp", bytes: 80 * MIB })
      expect(filled).toEqual({ refused: "ENOSPC" })
    })

    test("fills the disk that its folders lie on, and its bottle is ended before the disk is full", async () => {
      const { world } = caller()
      await using disk = await smallDisk(world)
      const identity = (
        await disk.bottle("start", "sh", "--yes", "--detach", "--", "-c", "exec sleep infinity")
      ).stdout.trim()
      const keeper = Number(JSON.parse(disk.read(`${identity}/gateway/keeper.pid`)).pid)
      const filling = "head --bytes=40M /dev/zero >filling; exec sleep infinity"
      const filler = await disk.bottle("exec", identity, "--", "bash", "-c", filling)
      expect(filler.code).not.toBe(0)
      await run(["tail", "--pid", String(keeper), "--sleep-interval", "0.05", "--follow", "/dev/null"])
      expect(disk.freeMiB()).toBeGreaterThan(10)
      expect((await disk.bottle("log", identity)).stdout).toContain("nearly full")
      // Without the guard it goes on to the last byte.
      using open = control([], { uid: 0, before: onSmallDisk })
      const filled = await open.attack("host.py", "fill", { folder: WORKSPACE, bytes: 80 * MIB })
      expect(filled).toEqual({ refused: "ENOSPC" })
    })
  })
})

/** Puts a small disk in the place of a control's workspace. */
const onSmallDisk = [
  ...["unshare", "--mount", "sh", "-c"],
  // The workspace is beside the folder of the descriptors' files, and bwrap looks it up by its name.
  `for work in /tmp/bottle-control-*/work; do mount -t tmpfs -o size=${DISK_MIB}m tmpfs "$work"; done; exec "$@"`,
  "sh",
]

interface SmallDisk extends AsyncDisposable {
  /** Runs `bottle` where the state of all bottles lies on this disk */
  bottle(...args: string[]): Promise<RunResult>
  /** A file of the state folder as it is there */
  read(path: string): string
  freeMiB(): number
}

/** A small disk under a world's state, mounted for the processes alone that are started here. */
async function smallDisk(world: World): Promise<SmallDisk> {
  const state = join(world.home, "state")
  const uid = world.as?.uid ?? 0
  const owned = `size=${DISK_MIB}m,mode=700,uid=${uid},gid=${uid}`
  const mount = `mkdir -p '${state}' && chown ${uid}:${uid} '${state}' && mount -t tmpfs -o ${owned} tmpfs '${state}'`
  const holder = spawn("unshare", ["--mount", "sh", "-c", `${mount} && echo ready && exec cat`])
  const lines = createInterface({ input: holder.stdout })[Symbol.asyncIterator]()
  if ((await lines.next()).value !== "ready") throw new Error("the small disk could not be mounted")
  const seen = `/proc/${holder.pid}/root${state}`
  const user = ["setpriv", "--reuid", String(uid), "--regid", String(uid), "--clear-groups"]
  const prefix = ["nsenter", "--target", String(holder.pid), "--mount", `--wdns=${world.cwd}`, ...user]
  const bottle = (...args: string[]) => run([...prefix, PROGRAM, ...args], { cwd: "/", env: world.env })
  return {
    bottle,
    read: (path) => readFileSync(join(seen, path), "utf8"),
    freeMiB: () => {
      const { bavail, bsize } = statfsSync(seen)
      return (bavail * bsize) / MIB
    },
    [Symbol.asyncDispose]: async () => {
      for (const identity of readdirSync(seen).filter((name) => name.startsWith("sh-")))
        await bottle("stop", identity)
      holder.kill("SIGKILL")
    },
  }
}
