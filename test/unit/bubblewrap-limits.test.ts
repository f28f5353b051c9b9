import { describe, expect, test } from "bun:test"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { heldPrefix, joinCgroups } from "../../sidecars/init/held-process.ts"
import { makeCgroups, removeCgroups } from "../../src/backend/bubblewrap/bottle-cgroups.ts"
import { limitsHere, rlimitPrefix, tmpfsSize } from "../../src/backend/bubblewrap/limits.ts"
import type { Machine } from "../../src/runtime/machine.ts"
import { run } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const GIB = 2 ** 30
const ALL = { memory: "2g", pids: 100, cpus: 1.5 }

/** A machine that is a folder with these files; a group is known by its `cgroup.procs`. */
function machineWith(root: string, files: Record<string, string>): Machine {
  const whole = {
    "/proc/sys/kernel/osrelease": "6.1.0-test",
    "/proc/self/limits": "Max processes             5000                 9000                 processes",
    ...files,
  }
  for (const [path, text] of Object.entries(whole)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return { root, env: {}, platform: "linux", arch: "x64", uid: 1000 }
}

/** Files of a group of version 2 that has `controllers`, hands `handed` on, and is not the root. */
function group(path: string, controllers: string, handed: string, procs = ""): Record<string, string> {
  return {
    [`${path}/cgroup.type`]: "domain",
    [`${path}/cgroup.controllers`]: controllers,
    [`${path}/cgroup.subtree_control`]: handed,
    [`${path}/cgroup.procs`]: procs,
  }
}

const V2 = "/sys/fs/cgroup"

describe("where the kernel enforces limits", () => {
  test("version 2: the nearest group that hands all controllers on holds the bottle", () => {
    using folder = temporaryFolder()
    const machine = machineWith(folder.path, {
      "/proc/self/cgroup": "0::/user.slice/app.slice/terminal.scope",
      ...group(V2, "cpu memory pids", "cpu memory pids"),
      ...group(`${V2}/user.slice`, "cpu memory pids", "cpu memory pids"),
      ...group(`${V2}/user.slice/app.slice`, "cpu memory pids", "cpu memory pids"),
      ...group(`${V2}/user.slice/app.slice/terminal.scope`, "cpu memory pids", "", "4242"),
    })
    expect(limitsHere(ALL, machine)).toEqual({
      nproc: 100,
      groups: [
        {
          parent: join(folder.path, V2, "user.slice/app.slice"),
          hand: [],
          writes: [
            { file: "memory.max", text: String(2 * GIB) },
            { file: "memory.swap.max", text: "0", optional: true },
            { file: "pids.max", text: "100" },
            { file: "cpu.max", text: "150000 100000" },
          ],
        },
      ],
      notes: [],
    })
  })

  test("version 2: one folder serves for all limits, though a nearer one hands some on", () => {
    using folder = temporaryFolder()
    const machine = machineWith(folder.path, {
      "/proc/self/cgroup": "0::/user/app",
      ...group(`${V2}/user/app`, "memory pids", "memory pids", "7"),
      ...group(`${V2}/user`, "cpu memory pids", "cpu memory pids", "7"),
      ...group(V2, "cpu memory pids", "cpu memory pids"),
    })
    const { groups } = limitsHere(ALL, machine)
    expect(groups.map((one) => one.parent)).toEqual([join(folder.path, V2, "user")])
  })

  test("version 2: controllers are handed on where no process is in the way, and nowhere else", () => {
    using free = temporaryFolder()
    const empty = machineWith(free.path, {
      "/proc/self/cgroup": "0::/bottles/mine",
      ...group(V2, "cpu memory pids", "", "1"),
      ...group(`${V2}/bottles`, "cpu memory pids", "memory"),
      ...group(`${V2}/bottles/mine`, "memory", "", "7"),
    })
    const { groups, notes } = limitsHere(ALL, empty)
    expect(notes).toEqual([])
    expect(groups.map(({ parent, hand }) => ({ parent, hand }))).toEqual([
      { parent: join(free.path, V2, "bottles"), hand: ["pids", "cpu"] },
    ])

    using taken = temporaryFolder()
    const crowded = machineWith(taken.path, {
      "/proc/self/cgroup": "0::/",
      ...group(V2, "cpu memory pids", "", "1\n7"),
    })
    expect(limitsHere(ALL, crowded)).toEqual({
      nproc: 100,
      groups: [],
      notes: ["limits not enforced here: memory, cpus (cgroup v2 is not ours to write)"],
    })
  })

  test("version 1: each limit has a hierarchy of its own, below our own group in it", () => {
    using folder = temporaryFolder()
    const machine = machineWith(folder.path, {
      "/proc/self/cgroup": "4:memory:/box/me\n8:pids:/\n1:cpu,cpuacct:/box\n0::/",
      [`${V2}/memory/cgroup.procs`]: "",
      [`${V2}/memory/box/me/cgroup.procs`]: "",
      [`${V2}/pids/cgroup.procs`]: "",
      [`${V2}/cpu/cgroup.procs`]: "",
      [`${V2}/cpu/box/cgroup.procs`]: "",
    })
    const { groups, notes } = limitsHere(ALL, machine)
    expect(notes).toEqual([])
    expect(groups).toEqual([
      {
        parent: join(folder.path, V2, "memory/box/me"),
        hand: [],
        writes: [
          { file: "memory.limit_in_bytes", text: String(2 * GIB) },
          { file: "memory.memsw.limit_in_bytes", text: String(2 * GIB), optional: true },
        ],
      },
      { parent: join(folder.path, V2, "pids"), hand: [], writes: [{ file: "pids.max", text: "100" }] },
      {
        parent: join(folder.path, V2, "cpu/box"),
        hand: [],
        writes: [
          { file: "cpu.cfs_period_us", text: "100000" },
          { file: "cpu.cfs_quota_us", text: "150000" },
        ],
      },
    ])
  })

  test("without control groups the number of processes is limited, and the rest is said not to be", () => {
    using folder = temporaryFolder()
    const machine = machineWith(folder.path, { "/proc/self/cgroup": "0::/" })
    expect(limitsHere(ALL, machine)).toEqual({
      nproc: 100,
      groups: [],
      notes: ["limits not enforced here: memory, cpus (no control groups are mounted)"],
    })
    expect(limitsHere({}, machine)).toEqual({ nproc: 4096, groups: [], notes: [] })
  })

  test("a bottle that sets no limits needs no control groups where the kernel counts per bottle", () => {
    using folder = temporaryFolder()
    const files = {
      "/proc/self/cgroup": "0::/me",
      ...group(V2, "cpu memory pids", "cpu memory pids"),
      ...group(`${V2}/me`, "cpu memory pids", "", "7"),
    }
    expect(limitsHere({}, machineWith(folder.path, files))).toEqual({ nproc: 4096, groups: [], notes: [] })

    // Before 5.14 the rlimit counts whatever else the user runs, and a bottle could be refused because of it.
    const old = machineWith(folder.path, { ...files, "/proc/sys/kernel/osrelease": "5.10.0-30-amd64" })
    expect(limitsHere({}, old)).toEqual({
      groups: [{ parent: join(folder.path, V2), hand: [], writes: [{ file: "pids.max", text: "4096" }] }],
      notes: [],
    })
  })

  test("an old kernel without control groups says whose processes it counts", () => {
    using folder = temporaryFolder()
    const machine = machineWith(folder.path, {
      "/proc/self/cgroup": "0::/",
      "/proc/sys/kernel/osrelease": "5.10.0-30-amd64",
    })
    expect(limitsHere({}, machine)).toEqual({
      nproc: 4096,
      groups: [],
      notes: ["pids: this kernel counts all processes of your user, at most 4096 while a bottle runs"],
    })
  })

  test("no more processes are asked for than the host allows us", () => {
    using folder = temporaryFolder()
    const machine = machineWith(folder.path, { "/proc/self/cgroup": "0::/" })
    expect(limitsHere({ pids: 20_000 }, machine).nproc).toBe(9000)
  })

  test("a share of a processor below what the kernel takes is the least that it takes", () => {
    using folder = temporaryFolder()
    const machine = machineWith(folder.path, {
      "/proc/self/cgroup": "0::/",
      ...group(V2, "cpu", "cpu"),
    })
    expect(limitsHere({ cpus: 0.001 }, machine).groups[0]?.writes).toEqual([
      { file: "cpu.max", text: "1000 100000" },
    ])
  })
})

describe("control groups of a bottle", () => {
  const plan = (parent: string) => ({
    groups: [
      {
        parent,
        hand: ["memory"],
        writes: [
          { file: "memory.max", text: "1" },
          { file: "memory.swap.max", text: "0", optional: true },
        ],
      },
    ],
    notes: [],
  })

  test("a group that does not take its limit refuses the start, and is gone again", () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, "cgroup.subtree_control"), "")
    // An ordinary folder has no memory.max: the same as a kernel whose controller went away meanwhile.
    expect(() => makeCgroups(plan(folder.path), "dev-abc12")).toThrow(
      "the limits of the bottle cannot be enforced",
    )
    expect(readdirSync(folder.path)).toEqual(["cgroup.subtree_control"])
    expect(readFileSync(join(folder.path, "cgroup.subtree_control"), "utf8")).toBe("+memory")
  })

  test("an empty group that an earlier session left is taken over, and one in use is not", () => {
    using folder = temporaryFolder()
    const own = join(folder.path, "bottle-dev-abc12")
    mkdirSync(own)
    writeFileSync(join(folder.path, "cgroup.subtree_control"), "")
    writeFileSync(join(own, "cgroup.procs"), "")
    writeFileSync(join(own, "memory.max"), "max")
    expect(makeCgroups(plan(folder.path), "dev-abc12")).toEqual([own])
    expect(readFileSync(join(own, "memory.max"), "utf8")).toStartWith("1")

    writeFileSync(join(own, "cgroup.procs"), "4242\n")
    expect(() => makeCgroups(plan(folder.path), "dev-abc12")).toThrow(
      expect.objectContaining({ why: expect.stringContaining("4242") }),
    )
  })

  test("a folder of another name is never removed", async () => {
    using folder = temporaryFolder()
    const other = join(folder.path, "bottle-dev-other")
    mkdirSync(other)
    await expect(removeCgroups("dev-abc12", [other])).rejects.toThrow("is no group of dev-abc12")
    expect(readdirSync(folder.path)).toEqual(["bottle-dev-other"])
  })

  test("nobody joins a folder that is no control group", () => {
    using folder = temporaryFolder()
    expect(() => joinCgroups(process.pid, [folder.path])).toThrow("ENOENT")
    expect(readdirSync(folder.path)).toEqual([])
  })
})

describe("the words in front of a command", () => {
  test("a limit that cannot be set starts nothing and says so", async () => {
    // Above any system's: `fs.nr_open` and the like know no such number.
    const result = await run([...rlimitPrefix(Number.NaN), "echo", "started"])
    expect(result).toEqual({
      code: 125,
      stdout: "",
      stderr: "bottle: the limit of NaN processes cannot be set here, so nothing was started\n",
    })
  })

  test.each(["/bin/sh", "/bin/bash"])("%s limits processes and core files, soft and hard", async (shell) => {
    const argv = [shell, ...rlimitPrefix(123).slice(1), "cat", "/proc/self/limits"]
    const { code, stdout } = await run(argv)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^Max processes\s+123\s+123\s/m)
    expect(stdout).toMatch(/^Max core file size\s+0\s+0\s/m)
  })

  test("arguments reach the command as they are", async () => {
    const words = ["a b", "$(id)", "*", "", "-n", "'"]
    const { stdout } = await run([...rlimitPrefix(500), "printf", "<%s>", ...words])
    expect(stdout).toBe(words.map((word) => `<${word}>`).join(""))
  })

  test("a held process waits on a descriptor that every shell can read", () => {
    expect(() => heldPrefix(10)).toThrow("3 to 9")
    expect(() => heldPrefix(0)).toThrow("3 to 9")
  })
})

describe("the size of a tmpfs", () => {
  test("is half of the bottle's memory, else a quarter of the machine's, and at most 4 GiB", () => {
    expect(tmpfsSize({ memory: "1g" }, 64 * GIB)).toBe(GIB / 2)
    expect(tmpfsSize({ memory: "512M" }, 64 * GIB)).toBe(GIB / 4)
    expect(tmpfsSize({}, 8 * GIB)).toBe(2 * GIB)
    expect(tmpfsSize({}, 64 * GIB)).toBe(4 * GIB)
    expect(tmpfsSize({ memory: "64g" }, 64 * GIB)).toBe(4 * GIB)
  })
})
