/** The agent tries to get more power over the kernel, over its neighbours and over what it may use up. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { once } from "node:events"
import { watch } from "node:fs"
import { namesOf } from "../../src/backend/docker/names.ts"
import { WORKSPACE } from "../../src/policy/paths.ts"
import { createWorld, type World } from "../docker/world.ts"
import { type AgentService, type Bottle, docker, type Sandbox, startBottle, startControl } from "./bottle.ts"

let world: World
let bottle: Bottle

const MEMORY_MB = 256
const PIDS = 128

beforeAll(async () => {
  world = await createWorld()
  bottle = await startBottle(world, `limits: { memory: ${MEMORY_MB}m, pids: ${PIDS} }`)
}, 600_000)

afterAll(async () => {
  await bottle?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
}, 120_000)

const control = (edit: (agent: AgentService) => void) => startControl(bottle, edit)

const asRoot = (agent: AgentService) => {
  agent.user = "0:0"
}
const withAllCapabilities = (agent: AgentService) => {
  asRoot(agent)
  delete agent.cap_drop
  agent.cap_add = ["ALL"]
}
const withoutSeccomp = (agent: AgentService) => {
  agent.security_opt = ["no-new-privileges:true", "seccomp=unconfined"]
}
const withoutNoNewPrivileges = (agent: AgentService) => {
  delete agent.security_opt
}
const privileged = (agent: AgentService) => {
  asRoot(agent)
  agent.privileged = true
}

function kernel(sandbox: Sandbox, name: string, arg: unknown = {}) {
  return sandbox.attack("kernel.py", name, arg)
}

const FIELDS = [
  ...["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"],
  ...["NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"],
]
const NONE = "0000000000000000"

describe("the agent", () => {
  test("looks for capabilities, and has none, can gain none, and is filtered", async () => {
    const { got } = await kernel(bottle, "status", { fields: FIELDS })
    expect(got).toEqual({
      CapInh: NONE,
      CapPrm: NONE,
      CapEff: NONE,
      CapBnd: NONE,
      CapAmb: NONE,
      NoNewPrivs: "1",
      Seccomp: "2",
      Uid: "1000\t1000\t1000\t1000",
      Gid: "1000\t1000\t1000\t1000",
      Groups: "1000 ",
    })
    await using open = await control((agent) => {
      withAllCapabilities(agent)
      agent.security_opt = ["seccomp=unconfined"]
    })
    expect((await kernel(open, "status", { fields: FIELDS })).got).toMatchObject({
      CapEff: expect.not.stringMatching(NONE),
      CapBnd: expect.not.stringMatching(NONE),
      NoNewPrivs: "0",
      Seccomp: "0",
    })
  })

  test("runs a setuid program, and stays who it is", async () => {
    expect(await kernel(bottle, "become_root")).toEqual({ refused: "EPERM" })
    await using open = await control(withoutNoNewPrivileges)
    expect(await kernel(open, "become_root")).toEqual({ got: "root" })
  })

  for (const kind of ["user", "network", "mount", "pid", "ipc"]) {
    test(`wants the ${kind} namespace to itself, and gets none`, async () => {
      expect(await kernel(bottle, "new_namespace", { kind })).toEqual({ refused: "EPERM" })
      // A user namespace is free to all where nothing filters it; the others need a capability.
      await using open = await control(kind === "user" ? withoutSeccomp : withAllCapabilities)
      expect(await kernel(open, "new_namespace", { kind })).toEqual({ got: 0 })
    })
  }

  test("clones itself into a user namespace, and is refused", async () => {
    expect(await kernel(bottle, "cloned_into_a_user_namespace")).toEqual({ refused: "EPERM" })
    await using open = await control(withoutSeccomp)
    expect(await kernel(open, "cloned_into_a_user_namespace")).toEqual({ got: "cloned" })
  })

  for (const [name, sentence] of [
    ["join_namespace_of_process_1", "joins the namespaces of process 1"],
    ["mount_a_file_system", "mounts a file system"],
    ["remount_the_sockets_writable", "mounts the folder of sockets anew, to write to it"],
    ["unmount_the_sockets", "takes the folder of sockets away"],
    ["change_root", "changes its root"],
  ] as const) {
    test(`${sentence}, and may not`, async () => {
      const outcome = await kernel(bottle, name)
      const refusals =
        typeof outcome.refused === "string" ? [outcome.refused] : Object.values(outcome.refused!)
      expect([...new Set(refusals)]).toEqual(["EPERM"])
      await using root = await control(asRoot)
      expect(await kernel(root, name)).toEqual(outcome)
      await using open = await control(withAllCapabilities)
      expect(await kernel(open, name)).toHaveProperty("got")
    })
  }

  for (const name of ["io_uring_setup", "add_key", "keyctl", "bpf", "perf_event_open", "open_tree"]) {
    test(`makes the system call ${name}, and the filter refuses it`, async () => {
      expect(await kernel(bottle, "system_call", { name })).toEqual({ refused: "EPERM" })
      await using open = await control(withoutSeccomp)
      expect(await kernel(open, "system_call", { name })).toEqual({ got: expect.any(String) })
    })
  }

  test("makes a device file of the host's disk, and may not", async () => {
    const disk = { major: 8, minor: 0 }
    expect(await kernel(bottle, "make_a_device", disk)).toEqual({ refused: "EPERM" })
    await using open = await control(withAllCapabilities)
    expect(await kernel(open, "make_a_device", disk)).toEqual({ got: "made" })
  })

  test("looks for the host's devices, and there are none", async () => {
    const { refused } = await kernel(bottle, "open_devices")
    expect([...new Set(Object.values(refused!))]).toEqual(["ENOENT"])
    await using open = await control(privileged)
    expect(await kernel(open, "open_devices")).toEqual({ got: expect.stringContaining("opened") })
  })

  test("opens the kernel's settings for writing, core_pattern first, and may not", async () => {
    const settings = {
      paths: ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward"],
    }
    const refusals = async (sandbox: Sandbox) =>
      Object.values((await kernel(sandbox, "open_kernel_settings", settings)).refused as object)
    expect([...new Set(await refusals(bottle))]).toEqual(["EACCES"])
    // Not for want of being root alone: the mount is read-only.
    await using root = await control(withAllCapabilities)
    expect([...new Set(await refusals(root))]).toEqual(["EROFS"])
    await using open = await control(privileged)
    expect(await kernel(open, "open_kernel_settings", settings)).toEqual({
      got: "/proc/sys/kernel/core_pattern: opened",
    })
  })

  test("looks for processes of the host, and sees its own alone", async () => {
    expect(await kernel(bottle, "processes_of_the_host")).toEqual({ got: [] })
    await using open = await control((agent) => {
      agent.pid = "host"
    })
    const { got } = await kernel(open, "processes_of_the_host")
    expect(got).toContain("dockerd")
  })

  test("reads the memory of every process, process 1 included, and finds no credential", async () => {
    const search = (needle: string) =>
      kernel(bottle, "memory_of_everyone", { reversed: [...needle].reverse().join("") })
    expect(await search(world.token)).toEqual({ got: [] })
    // The same search finds what the agent may have: the placeholder, in the memory of inner and of the agent.
    const placeholder = (await bottle.run(["printenv", "CLAUDE_CODE_OAUTH_TOKEN"])).stdout.trim()
    const { got } = await search(placeholder)
    expect(got).toContainEqual(expect.stringMatching(/^mem of/))
    expect(got).toContainEqual(expect.stringMatching(/^environ of/))
  })

  test("reads the environment and the root of process 1, and learns nothing", async () => {
    const { got } = (await bottle.attack("files.py", "read_process_1")) as {
      got: { environment: string[]; root: string }
    }
    expect(got.root).toBe("the sandbox's own")
    const known = /^(HOME|HOSTNAME|PATH|TERM|BUN_JSC_\w+)$/
    expect(got.environment.filter((name) => !known.test(name))).toEqual([])
  })

  test("forks without end, and its limit ends it while the gateway goes on", async () => {
    const { workspace } = namesOf(bottle.identity).volumes
    const folder = (await docker("volume", "inspect", "--format", "{{.Mountpoint}}", workspace)).trim()
    const full = watch(folder)
    const forks = kernel(bottle, "processes_at_once", {
      up_to: 2 * PIDS,
      tell: `${WORKSPACE}/full`,
      keep_seconds: 3,
    })
    await Promise.race([once(full, "change"), forks])
    full.close()
    expect(await world.ok("routes", "show", bottle.identity)).toContain("api.anthropic.com")
    expect(await forks).toEqual({ refused: "EAGAIN" })
    expect(await bottle.run(["true"])).toMatchObject({ code: 0 })
    await using open = await startControl(bottle, () => {}, { limits: { pids: 4 * PIDS } })
    expect(await kernel(open, "processes_at_once", { up_to: 2 * PIDS })).toEqual({ got: 2 * PIDS })
  })

  test("fills memory beyond its limit, and is ended for it", async () => {
    const much = { bytes: 2 * MEMORY_MB * 1024 * 1024 }
    expect(await kernel(bottle, "memory_at_once", much)).toEqual({
      refused: "MemoryError: it was ended with -9",
    })
    await using open = await startControl(bottle, () => {}, { limits: { memory: `${4 * MEMORY_MB}m` } })
    expect(await kernel(open, "memory_at_once", much)).toEqual({ got: "filled" })
  })
})
