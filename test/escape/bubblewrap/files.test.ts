/** The agent reaches for what is the host's: files, sockets in the file system, shared memory, programs of root. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { randomBytes, randomInt } from "node:crypto"
import { once } from "node:events"
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bwrapHere } from "../../../src/backend/bubblewrap/probe.ts"
import { AGENT_HOME, WORKSPACE } from "../../../src/policy/paths.ts"
import {
  asHostRoot,
  type Bottle,
  bottleNamed,
  control,
  type Edit,
  forEachCaller,
  host,
  outside,
  startBottle,
  withMounts,
  without,
} from "./bottle.ts"

const SECRET = "of the host alone"

/** Puts the host's own folder in the place of the sandbox's. */
function withTheHosts(folder: string): Edit {
  return withMounts("--bind", folder, folder)
}

function codes(refused: unknown): unknown[] {
  return [...new Set(Object.values(refused as object))]
}

forEachCaller((caller) => {
  let bottle: Bottle
  /** A folder of the caller's own below /tmp, with a secret in it */
  let folder: string

  const as = () => caller().world.as
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bottle-host-"))
    writeFileSync(join(folder, "secret"), SECRET, { mode: 0o600 })
    const uid = as()?.uid ?? 0
    for (const path of [folder, join(folder, "secret")]) chownSync(path, uid, uid)
    bottle = await startBottle(caller().world)
  })
  afterAll(async () => {
    await bottle?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  const attack = (name: string, arg: unknown = {}) => bottle.attack("host.py", name, arg)

  describe("the agent", () => {
    test("reads the home of its user, the bottle's manifest and /etc/shadow, and none is there", async () => {
      const { world } = caller()
      const paths = [
        ...[join(folder, "secret"), join(world.home, "bottles", "sh.md"), "/etc/shadow", "/root", "/boot"],
        ...["/proc/1/root/etc/shadow", "/proc/1/cwd/etc/shadow", "/proc/self/root/etc/shadow"],
        ...["/../../etc/shadow", `${WORKSPACE}/../../etc/shadow`],
      ]
      expect(codes((await attack("read_any", { paths })).refused)).toEqual(["ENOENT"])
      using open = control([withTheHosts(folder)], { uid: as()?.uid ?? 0 })
      expect(await open.attack("host.py", "read_any", { paths })).toEqual({
        got: `${paths[0]}: ${SECRET}`,
      })
      using shadow = asHostRoot(withMounts("--ro-bind", "/etc/shadow", "/etc/shadow"))
      expect(await shadow.attack("host.py", "read_any", { paths: ["/etc/shadow"] })).toHaveProperty("got")
    })

    test("has no variable of its user's environment", async () => {
      const { stdout } = await bottle.run(["env"])
      expect(stdout).toContain("HOME=/home/agent")
      expect(stdout).not.toContain("CONTRACT_CANARY")
      expect(caller().world.env).toHaveProperty("CONTRACT_CANARY")
    })

    test("connects to sockets of the host's file system, an ssh-agent's and Docker's, and none is there", async () => {
      const path = join(folder, "agent.sock")
      await using _ = await answering(path)
      chmodSync(path, 0o666)
      const runtime = `/run/user/${as()?.uid ?? 0}`
      const paths = [
        ...[path, "/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket"],
        ...[`${runtime}/bus`, `${runtime}/wayland-0`, "/tmp/.X11-unix/X0", "/run/containerd/containerd.sock"],
        ...["/run/systemd/private", "/run/systemd/journal/socket", "/dev/log"],
      ]
      expect(codes((await attack("connect_to_any", { paths })).refused)).toEqual(["ENOENT"])
      using open = control([withTheHosts(folder)], { uid: as()?.uid ?? 0 })
      expect(await open.attack("host.py", "connect_to_any", { paths })).toEqual({ got: `${path}: ${SECRET}` })
    })

    test("writes wherever it can, and that is its home, its workspace and places that hold nothing", async () => {
      const { got } = (await bottle.attack("files.py", "writable_places")) as { got: string[] }
      const devices = ["full", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero"]
      // The gateway's sockets lie in /run too, on a mount of their own: another test looks there.
      expect(got.filter((path) => !devices.includes(path.split("/")[2] ?? ""))).toEqual([
        ...[AGENT_HOME, "/run", "/tmp", WORKSPACE],
      ])
      using open = control([withoutSealing])
      expect((await open.attack("files.py", "writable_places")).got).toContain("/etc")
    })

    test("changes a program or a setting of the system, and the mounts are read-only", async () => {
      const paths = ["/usr/bin/env", "/etc/passwd", "/etc/hosts", "/etc/nsswitch.conf", "/opt/bottle/bottle"]
      const { refused } = await attack("open_for_writing", { paths })
      expect(codes(refused).filter((code) => !["EROFS", "EACCES"].includes(code as string))).toEqual([])
      expect(await bottle.attack("files.py", "create_in", { folder: "/etc" })).toEqual({ refused: "EROFS" })
      using open = control([withoutSealing])
      expect(await open.attack("files.py", "create_in", { folder: "/etc" })).toEqual({ got: "created" })
    })

    test("changes the bwrap that it was started by, and the host's stays as it was", async () => {
      const { world } = caller()
      const uid = as()?.uid ?? 0
      const bin = join(folder, "bin")
      await host("install", "--directory", `--owner=${uid}`, bin)
      await host("install", "--mode=755", `--owner=${uid}`, bwrapHere(), bin)
      const own = join(bin, "bwrap")
      const kept = () => {
        const { mode, uid: owner, mtimeMs, ctimeMs, size } = statSync(own)
        return { mode, owner, mtimeMs, ctimeMs, size }
      }
      const before = kept()
      const env = { PATH: `${bin}:${world.env.PATH}` }
      // Root's are dropped to a number that must come to bwrap by its path.
      chmodSync(folder, 0o755)
      using _ = { [Symbol.dispose]: () => chmodSync(folder, 0o700) }
      const started = bottleNamed(world, await world.detached("exec sleep infinity", { env }))
      await started.attack("processes.py", "change_program_of_process_1")
      await world.bottle("stop", started.identity)
      expect(kept()).toEqual(before)
      // As long as it is the file of the user whose number the agent has.
      using open = control([], { uid: uid || 54321, bwrap: own })
      chownSync(own, open.uid, open.uid)
      expect(await open.attack("processes.py", "change_program_of_process_1")).toEqual({
        got: "mode: changed",
      })
      expect(statSync(own).mode & 0o7777).toBe(0o6755)
    })

    test("gives a host file a second name where it may write, and no link leads from mount to mount", async () => {
      const owner = caller().agentUid(bottle)
      const path = join(bottle.dir, "workspace", "linked")
      writeFileSync(path, SECRET)
      chownSync(path, owner, owner)
      const arg = { path: `${WORKSPACE}/linked`, into: AGENT_HOME }
      expect(await attack("hard_link", arg)).toEqual({ refused: "EXDEV" })
      expect(await attack("hard_link", { path: "/usr/bin/env", into: AGENT_HOME })).toEqual({
        refused: "EXDEV",
      })
      using open = control([withMounts("--bind", folder, "/srv")], { uid: as()?.uid ?? 0 })
      const within = { path: "/srv/secret", into: "/srv" }
      expect(await open.attack("host.py", "hard_link", within)).toEqual({ got: "linked" })
    })

    test("runs the set-id programs of the system, and stays who it is", async () => {
      const { refused } = await attack("run_as_root")
      expect(codes(refused)).toEqual(["EPERM"])
      const nobody = randomInt(620_000_000, 629_000_000)
      const open = outside({ uid: nobody, gid: nobody })
      expect(await open.attack("host.py", "run_as_root")).toEqual({ got: expect.stringContaining("another") })
    })

    test("leaves a program that makes others its user, and they cannot come to it", async () => {
      expect(await attack("make_set_id_copy", { folder: WORKSPACE })).toEqual({ got: "0o6755" })
      const program = join(bottle.dir, "workspace", "become-the-agent")
      const other = randomInt(620_000_000, 629_000_000)
      const become = () =>
        outside({ uid: other, gid: other }).run([program, "-c", "import os; print(os.geteuid())"])
      // What the user has made of the folders above is not what guards it.
      const { home } = caller().world
      using _ = opened([join(home, ".."), home])
      expect(statSync(bottle.dir).mode & 0o777).toBe(0o700)
      await expect(become()).rejects.toThrow()
      using __ = opened([join(home, "state"), bottle.dir])
      expect((await become()).stdout.trim()).toBe(String(caller().agentUid(bottle)))
    })

    test("looks for the host's shared memory and message queues, and there are none", async () => {
      const name = `/bottle-${randomBytes(4).toString("hex")}`
      const key = randomInt(1, 2 ** 31)
      const make = `import ctypes,sys
c=ctypes.CDLL(None); r=ctypes.CDLL("librt.so.1"); i=c.shmget(${key},64,0o1666); c.shmat.restype=ctypes.c_void_p
ctypes.memmove(c.shmat(i,None,0), b"${SECRET}", ${SECRET.length}); q=r.mq_open(b"${name}",0o102,0o666,None)
open("/dev/shm${name}","w").write("${SECRET}")
print(i)`
      const id = (await host("python3", "-c", make)).trim()
      await using _ = {
        [Symbol.asyncDispose]: async () => {
          const remove = `import ctypes,os
ctypes.CDLL(None).shmctl(${id},0,None); ctypes.CDLL("librt.so.1").mq_unlink(b"${name}"); os.unlink("/dev/shm${name}")`
          await host("python3", "-c", remove)
        },
      }
      expect(await attack("shared_memory", { key })).toEqual({ refused: "ENOENT" })
      expect(await attack("message_queue", { name })).toEqual({ refused: "ENOENT" })
      expect(await attack("read_any", { paths: [`/dev/shm${name}`] })).toEqual({
        refused: { [`/dev/shm${name}`]: "ENOENT" },
      })
      using open = control([without("--unshare-ipc"), withTheHosts("/dev/shm")])
      expect(await open.attack("host.py", "shared_memory", { key })).toEqual({ got: SECRET })
      expect(await open.attack("host.py", "message_queue", { name })).toEqual({ got: "opened" })
      expect(await open.attack("host.py", "read_any", { paths: [`/dev/shm${name}`] })).toHaveProperty("got")
    })

    test("opens the kernel's own windows for reading, its memory and its log, and they are shut", async () => {
      const paths = [
        "/proc/kcore",
        "/proc/kmsg",
        "/proc/sysrq-trigger",
        "/sys/kernel",
        "/sys/fs/cgroup",
        "/dev/mem",
      ]
      const { refused } = await attack("read_any", { paths })
      expect(
        codes(refused).filter((code) => !["ENOENT", "EACCES", "EPERM"].includes(code as string)),
      ).toEqual([])
      using open = control([withMounts("--ro-bind", "/sys", "/sys")])
      expect(await open.attack("host.py", "read_any", { paths: ["/sys/kernel"] })).toHaveProperty("got")
    })
  })
})

const withoutSealing: Edit = (options) => {
  const at = options.findIndex((option, n) => option === "--remount-ro" && options[n + 1] === "/")
  return options.toSpliced(at, 2)
}

async function answering(path: string): Promise<AsyncDisposable> {
  const server = createServer((socket) => {
    socket.on("error", () => {})
    socket.end(SECRET)
  })
  server.listen(path)
  await once(server, "listening")
  return { [Symbol.asyncDispose]: async () => void server.close() }
}

/** Lets everyone into folders for as long as the scope lasts. */
function opened(folders: string[]): Disposable {
  const before = folders.map((path) => [path, statSync(path).mode & 0o7777] as const)
  for (const path of folders) chmodSync(path, 0o755)
  return {
    [Symbol.dispose]: () => {
      for (const [path, mode] of before) if (existsSync(path)) chmodSync(path, mode)
    },
  }
}
