import { expect, test } from "bun:test"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import {
  currentOwner,
  describeOwner,
  ownerAlive,
  type System,
  THIS_SYSTEM,
} from "../../src/runtime/process-owner.ts"

/** Answers of Linux with the given text of `/proc/<pid>/stat`. */
function linux(stat: string, boot = "boot-1", namespace = "pid:[1]"): System {
  return {
    platform: "linux",
    read: async (path) => (path.endsWith("boot_id") ? `${boot}\n` : stat),
    link: async () => namespace,
    run: async () => ({ code: 127, stdout: "", stderr: "" }),
  }
}

/** Answers of macOS; `ps` prints the given text. */
function mac(ps: { code: number; stdout: string }, boot = "BOOT-1"): System {
  return {
    platform: "darwin",
    read: () => Promise.reject(new Error("there is no /proc")),
    link: () => Promise.reject(new Error("there is no /proc")),
    run: async (argv) =>
      argv[0] === "ps" ? { ...ps, stderr: "" } : { code: 0, stdout: `${boot}\n`, stderr: "" },
  }
}

const STAT = `42 (a) b) S 1 42 42 0 -1 4194304 ${"0 ".repeat(12)}777 0`

test("this process is alive, and a process with another start time under its id is not", async () => {
  const owner = await currentOwner()
  expect(owner.pid).toBe(process.pid)
  expect(await ownerAlive(owner)).toBe(true)
  expect(await ownerAlive({ ...owner, start_time: "1" })).toBe(false)
  expect(await ownerAlive({ ...owner, boot_id: "an earlier boot" })).toBe(false)
})

test("a process that ended is dead, also while it waits as a zombie to be reaped", async () => {
  const child = spawn("sh", ["-c", "sleep 0.01 & echo $!; read line; exec sleep 1000"], {
    stdio: ["pipe", "pipe", "inherit"],
  })
  try {
    const [chunk] = await once(child.stdout, "data")
    // `sh` does not wait for its background child before it has read a line, so that the child stays a zombie.
    const pid = Number(String(chunk))
    let state = ""
    while (!state.startsWith("Z")) {
      state = execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).trim()
    }
    await expect(describeOwner(pid)).rejects.toThrow("does not run")
    const parent = await describeOwner(child.pid!)
    expect(await ownerAlive(parent)).toBe(true)
    child.kill("SIGKILL")
    await once(child, "exit")
    expect(await ownerAlive(parent)).toBe(false)
  } finally {
    child.kill("SIGKILL")
  }
})

test("a program's name with spaces and brackets does not shift the fields of /proc", async () => {
  expect((await describeOwner(42, linux(STAT))).start_time).toBe("777")
})

test("a process of another pid namespace on this machine counts as alive, because it cannot be seen", async () => {
  const owner = await describeOwner(42, linux(STAT))
  expect(await ownerAlive(owner, linux(STAT.replace("777", "888"), "boot-1", "pid:[2]"))).toBe(true)
  expect(await ownerAlive(owner, linux(STAT.replace("777", "888"), "boot-2", "pid:[2]"))).toBe(false)
})

test("a process that may not be looked at counts as alive", async () => {
  const owner = await describeOwner(42, linux(STAT))
  const hidden: System = {
    ...linux(STAT),
    read: async (path) => {
      if (path.endsWith("boot_id")) return "boot-1"
      throw Object.assign(new Error("refused"), { code: "EACCES" })
    },
  }
  expect(await ownerAlive(owner, hidden)).toBe(true)
})

test("on macOS the start comes from ps, and its absence means that the process is gone", async () => {
  const running = mac({ code: 0, stdout: "Sat Nov 21 10:00:00 2026     S+\n" })
  const owner = await describeOwner(42, running)
  expect(owner).toEqual({
    pid: 42,
    start_time: "Sat Nov 21 10:00:00 2026",
    boot_id: "BOOT-1",
    pid_namespace: "",
  })
  expect(await ownerAlive(owner, running)).toBe(true)
  expect(await ownerAlive(owner, mac({ code: 0, stdout: "Sat Nov 21 10:00:01 2026 S\n" }))).toBe(false)
  expect(await ownerAlive(owner, mac({ code: 0, stdout: "Sat Nov 21 10:00:00 2026 Z\n" }))).toBe(false)
  expect(await ownerAlive(owner, mac({ code: 1, stdout: "" }))).toBe(false)
  expect(await ownerAlive(owner, mac({ code: 0, stdout: "Sat Nov 21 10:00:00 2026 S\n" }, "BOOT-2"))).toBe(
    false,
  )
})

test("the ps that macOS is asked with answers for a real process in a form that compares", async () => {
  const withPs: System = {
    ...mac({ code: 0, stdout: "" }),
    run: (argv) =>
      argv[0] === "ps" ? THIS_SYSTEM.run(argv) : Promise.resolve({ code: 0, stdout: "B", stderr: "" }),
  }
  const owner = await describeOwner(process.pid, withPs)
  expect(owner.start_time).toMatch(/^[A-Z][a-z]{2} [A-Z][a-z]{2} \d+ \d{2}:\d{2}:\d{2} \d{4}$/)
  expect(await ownerAlive(owner, withPs)).toBe(true)
})
