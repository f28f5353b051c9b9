/** The agent tries to get more power over the kernel, over processes and over terminals. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { existsSync, readFileSync } from "node:fs"
import {
  asHostRoot,
  type Bottle,
  control,
  type Edit,
  forEachCaller,
  outside,
  processesOf,
  procFile,
  startBottle,
  withCapabilities,
  without,
  withoutSeccomp,
} from "./bottle.ts"

const NONE = "0000000000000000"
/** Neither the filter of calls nor the ban on namespaces inside */
const NAMESPACES_OPEN: Edit[] = [withoutSeccomp, without("--disable-userns")]
/** No filter, and all capabilities in the user namespace that the sandbox's others belong to */
const CAPABLE: Edit[] = [withoutSeccomp, withCapabilities, without("--disable-userns")]

const reversed = (text: string) => [...text].reverse().join("")

forEachCaller((caller) => {
  let bottle: Bottle

  beforeAll(async () => {
    bottle = await startBottle(caller().world)
  })
  afterAll(() => bottle?.[Symbol.asyncDispose]())

  const kernel = (name: string, arg: unknown = {}) => bottle.attack("kernel.py", name, arg)
  const processes = (name: string, arg: unknown = {}) => bottle.attack("processes.py", name, arg)

  describe("the agent", () => {
    test("looks for capabilities, and has none, can gain none, and is filtered", async () => {
      const fields = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid"]
      expect((await kernel("status", { fields })).got).toEqual({
        ...{ CapInh: NONE, CapPrm: NONE, CapEff: NONE, CapBnd: NONE, CapAmb: NONE },
        ...{ NoNewPrivs: "1", Seccomp: "2" },
        ...{ Uid: "1000\t1000\t1000\t1000", Gid: "1000\t1000\t1000\t1000" },
      })
      using open = control(CAPABLE)
      expect((await open.attack("kernel.py", "status", { fields })).got).toMatchObject({
        CapEff: expect.not.stringMatching(NONE),
        Seccomp: "0",
      })
    })

    test("is nobody's root on the host, and of none of its groups, whoever has started it", async () => {
      const { agentUid } = caller()
      const status = procFile((await processesOf(bottle)).agent, "status")
      const value = (name: string) => new RegExp(`^${name}:(.*)$`, "m").exec(status)?.[1]?.trim()
      const uid = agentUid(bottle)
      expect(uid).toBeGreaterThan(0)
      expect(value("Uid")).toBe(Array(4).fill(uid).join("\t"))
      expect(value("Gid")).toBe(Array(4).fill(uid).join("\t"))
      expect(value("Groups")).toBe("")
    })

    for (const kind of ["user", "network", "mount", "pid", "ipc"]) {
      test(`wants the ${kind} namespace to itself, and gets none`, async () => {
        expect(await kernel("new_namespace", { kind })).toEqual({ refused: "EPERM" })
        if (kind === "user") {
          // The filter is not the only one to refuse: no namespace of users is to be had below this one.
          using unfiltered = control([withoutSeccomp])
          expect(await unfiltered.attack("kernel.py", "new_namespace", { kind })).toEqual({
            refused: "ENOSPC",
          })
        }
        using open = control(kind === "user" ? NAMESPACES_OPEN : CAPABLE)
        expect(await open.attack("kernel.py", "new_namespace", { kind })).toEqual({ got: 0 })
      })
    }

    test("clones itself into a user namespace, and is refused", async () => {
      expect(await kernel("cloned_into_a_user_namespace")).toEqual({ refused: "EPERM" })
      using open = control(NAMESPACES_OPEN)
      expect(await open.attack("kernel.py", "cloned_into_a_user_namespace")).toEqual({ got: "cloned" })
    })

    for (const [name, sentence] of [
      ["join_namespace_of_process_1", "joins the namespaces of process 1"],
      ["mount_a_file_system", "mounts a file system"],
      ["unmount_the_sockets", "takes the folder of sockets away"],
      ["change_root", "changes its root"],
    ] as const) {
      test(`${sentence}, and may not`, async () => {
        const { refused } = await kernel(name)
        const codes = typeof refused === "string" ? [refused] : Object.values(refused as object)
        expect([...new Set(codes)]).toEqual(["EPERM"])
        using open = asHostRoot()
        expect(await open.attack("kernel.py", name)).toHaveProperty("got")
      })
    }

    test("traces a process, and the filter refuses it", async () => {
      expect(await processes("trace_a_process")).toEqual({ refused: "EPERM" })
      using open = control([withoutSeccomp])
      expect(await open.attack("processes.py", "trace_a_process")).toEqual({ got: "traced" })
    })

    test("reads the memory of a process by process_vm_readv, and the filter refuses it", async () => {
      expect(await processes("read_memory_of_a_process")).toEqual({ refused: "EPERM" })
      using open = control([withoutSeccomp])
      expect(await open.attack("processes.py", "read_memory_of_a_process")).toEqual({ got: "of the child" })
    })

    test("takes an open file of process 1 by pidfd_getfd, and the filter refuses it", async () => {
      expect(await processes("take_a_descriptor_of_process_1")).toEqual({ refused: "EPERM" })
      using open = control([withoutSeccomp])
      expect(await open.attack("processes.py", "take_a_descriptor_of_process_1")).toHaveProperty("got")
    })

    test("types into a terminal by TIOCSTI, and the filter refuses it", async () => {
      expect(await processes("type_into_a_terminal")).toEqual({ refused: "EPERM" })
      using open = control([withoutSeccomp])
      // Linux 6.2 and later may be told to refuse it to all, and do so with another error.
      const setting = "/proc/sys/dev/tty/legacy_tiocsti"
      const off = existsSync(setting) && readFileSync(setting, "utf8").trim() === "0"
      expect(await open.attack("processes.py", "type_into_a_terminal")).toEqual(
        off ? { refused: "EIO" } : { got: "typed" },
      )
    })

    for (const name of [
      "io_uring_setup",
      "add_key",
      "keyctl",
      "bpf",
      "perf_event_open",
      "open_tree",
      "fsopen",
    ]) {
      test(`makes the system call ${name}, and the filter refuses it`, async () => {
        expect(await kernel("system_call", { name })).toEqual({ refused: "EPERM" })
        using open = control(CAPABLE)
        const through = await open.attack("kernel.py", "system_call", { name })
        // Two of them the kernel itself keeps to the host's root.
        const settled = "got" in through ? through : await asRootOfTheHost("system_call", { name })
        expect(settled).toEqual({ got: expect.any(String) })
      })
    }

    test("makes a device file of the host's disk, and may not", async () => {
      const disk = { major: 8, minor: 0 }
      expect(await kernel("make_a_device", disk)).toEqual({ refused: "EPERM" })
      expect(await asRootOfTheHost("make_a_device", disk)).toEqual({ got: "made" })
    })

    test("looks for the host's devices, /dev/kvm and its disks among them, and there are none", async () => {
      const { refused } = await kernel("open_devices")
      expect([...new Set(Object.values(refused as object))]).toEqual(["ENOENT"])
      using open = asHostRoot(withTheHostsDevices)
      expect(await open.attack("kernel.py", "open_devices")).toEqual({
        got: expect.stringContaining("opened"),
      })
    })

    test("opens the kernel's settings for writing, core_pattern first, and may not", async () => {
      const paths = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/vm/drop_caches",
      ]
      const { refused } = await kernel("open_kernel_settings", { paths })
      expect([...new Set(Object.values(refused as object))]).toEqual(["EACCES"])
      expect(await asRootOfTheHost("open_kernel_settings", { paths })).toEqual({
        got: "/proc/sys/kernel/core_pattern: opened",
      })
    })

    test("looks for the environment of host processes, and sees none of these", async () => {
      const { agentUid } = caller()
      const uid = agentUid(bottle)
      const canary = randomBytes(8).toString("hex")
      using _ = aliveAs(uid, canary)
      const arg = { reversed: reversed(canary) }
      expect(await outside({ uid, gid: uid }).attack("processes.py", "processes_that_hold", arg)).toEqual({
        got: ["environ"],
      })
      expect(await processes("processes_that_hold", arg)).toEqual({ got: [] })
      // The user namespace alone would keep it from reading what it then saw.
      using open = asHostRoot(without("--unshare-pid"))
      expect(await open.attack("processes.py", "processes_that_hold", arg)).toEqual({ got: ["environ"] })
    })

    test("reads the environment, root and folder of process 1, and learns nothing", async () => {
      expect((await processes("seen_of_process", { pid: 1 })).got).toEqual({
        environment: ["PWD"],
        places: [true, true],
        status: {
          ...{ CapEff: NONE, CapBnd: NONE, NoNewPrivs: "1", Seccomp: "2" },
          Uid: "1000\t1000\t1000\t1000",
        },
      })
      // Process 1 of this machine may be hidden from root too, so it is another one of the host's.
      using seen = aliveAs(0, "seen")
      using open = asHostRoot(without("--unshare-pid"))
      expect((await open.attack("processes.py", "seen_of_process", { pid: seen.pid })).got).toMatchObject({
        environment: ["WORD"],
        status: { Seccomp: "0" },
      })
    })

    test("reads the names of the keys that its user has on the host, and may not", async () => {
      const uid = caller().agentUid(bottle)
      const name = `key-${randomBytes(8).toString("hex")}`
      using _ = await holdingKey(uid, name)
      const paths = ["/proc/keys"]
      expect(await bottle.attack("host.py", "read_any", { paths })).toEqual({
        refused: { "/proc/keys": "EACCES" },
      })
      using open = control([without("--ro-bind", 2, "/proc/keys")], { uid })
      expect(await open.attack("host.py", "read_any", { paths })).toEqual({
        got: expect.stringContaining(name),
      })
    })

    test("climbs from every folder that any process has open, and comes no further than its own root", async () => {
      expect(await processes("climb")).toEqual({ got: [] })
      using open = control([], { before: ["/bin/bash", "-c", 'exec 200</; exec "$@"', "bash"] })
      const { got } = await open.attack("processes.py", "climb")
      expect(got).toContainEqual(expect.arrayContaining(["etc", "proc"]))
    })

    test("looks for files of the host that were left open, and there are none", async () => {
      expect(await processes("descriptors_of_files")).toEqual({ got: [] })
      using open = control([], { before: ["/bin/bash", "-c", 'exec 200</etc/passwd; exec "$@"', "bash"] })
      expect(await open.attack("processes.py", "descriptors_of_files")).toEqual({ got: ["/etc/passwd"] })
    })

    test("makes whoever opens its file wait, by a lease, and the filter refuses it", async () => {
      const name = "lease_on_an_own_file"
      expect(await processes(name)).toEqual({ refused: "EPERM" })
      using open = control([withoutSeccomp])
      expect(await open.attack("processes.py", name)).toEqual({ got: "leased" })
    })
  })
})

async function asRootOfTheHost(name: string, arg: unknown) {
  using open = asHostRoot()
  return await open.attack("kernel.py", name, arg)
}

const withTheHostsDevices: Edit = (options) => {
  const at = options.indexOf("--dev")
  // With all that is mounted into it, up to its end: --remount-ro would forbid devices again.
  const end = options.findIndex((option, n) => option === "--remount-ro" && options[n + 1] === "/dev")
  return options.toSpliced(at, end + 2 - at, "--dev-bind", "/dev", "/dev")
}

/** A process of the host as that user, with a word in its environment. */
function aliveAs(uid: number, word: string): { pid: number | undefined } & Disposable {
  const child = spawn("/bin/sleep", ["60"], { uid, gid: uid, env: { WORD: word }, stdio: "ignore" })
  return { pid: child.pid, [Symbol.dispose]: () => void child.kill("SIGKILL") }
}

/** A process of the host as that user that has a key by that name (keyctl(2): 250 on x64, 219 on arm64). */
async function holdingKey(uid: number, name: string): Promise<Disposable> {
  const [add, keyctl] = process.arch === "x64" ? [248, 250] : [217, 219]
  const hold = `import ctypes
c=ctypes.CDLL(None, use_errno=True)
c.syscall(${keyctl}, 1, None)
made=c.syscall(${add}, b"user", b"${name}", b"payload", 7, -3)
print("made" if made > 0 else ctypes.get_errno(), flush=True)
input()`
  const child = spawn("/usr/bin/python3", ["-c", hold], {
    uid,
    gid: uid,
    stdio: ["pipe", "pipe", "inherit"],
    cwd: "/",
  })
  const [answer] = (await once(child.stdout!, "data")) as [Buffer]
  if (answer.toString().trim() !== "made") throw new Error(`no key: error ${answer.toString().trim()}`)
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") }
}
