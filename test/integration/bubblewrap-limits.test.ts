import { describe, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { heldPrefix, joinCgroups } from "../../sidecars/init/held-process.ts"
import { makeCgroups, removeCgroups } from "../../src/backend/bubblewrap/bottle-cgroups.ts"
import { limitFolders } from "../../src/backend/bubblewrap/cgroups.ts"
import { type LimitPlan, limitsHere, tmpfsSize } from "../../src/backend/bubblewrap/limits.ts"
import { isWritable, thisMachine } from "../../src/runtime/machine.ts"
import { run } from "../../src/runtime/spawn.ts"
import { forkBomb, limitedSandbox } from "../fixtures/limited-sandbox.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const MIB = 2 ** 20
/** What each bottle starts when nothing stops it: enough to see, and no harm to this machine */
const BOMB_MAX = 200
const DISK_GUARD = fileURLToPath(new URL("../fixtures/disk-guard-on-full-disk.ts", import.meta.url))

/** Root starts bottles as users that nobody else is; an ordinary user as itself. */
const asRoot = thisMachine().uid === 0
const users: { who: string; uid?: number }[] = asRoot
  ? [{ who: "a dropped user", uid: 12345 }]
  : [{ who: "the ordinary user" }]

/** Number of the capability (capabilities(7)); root in a container may be without it */
const CAP_SYS_RESOURCE = 24n

function holds(capability: bigint): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
  return ((BigInt(`0x${effective}`) >> capability) & 1n) === 1n
}

/** A user who does nothing else: its processes are those that a test starts. */
async function otherProcessEnds(uid: number | undefined): Promise<number | null> {
  const child = spawn("/bin/true", { stdio: "ignore", ...(uid === undefined ? {} : { uid, gid: uid }) })
  return await new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("exit", resolve)
  })
}

describe.each(users)("processes of a bottle of $who", ({ uid }) => {
  const as = uid === undefined ? {} : { uid }

  test("a fork bomb ends at the bottle's limit, while host and other bottles of the user go on", async () => {
    const limit = 32
    const plan = limitsHere({ pids: limit })
    expect(plan.notes).toEqual([])
    await using first = limitedSandbox({ plan, ...as }, forkBomb(BOMB_MAX))
    const held = JSON.parse(await first.line())
    expect(held.refused).toBe("EAGAIN")
    expect(held.started).toBeGreaterThan(limit / 2)
    expect(held.started).toBeLessThan(limit)

    // All while the first bottle holds what it got.
    expect(await otherProcessEnds(uid)).toBe(0)
    await using second = limitedSandbox({ plan, ...as }, forkBomb(10))
    expect(JSON.parse(await second.line())).toEqual({ started: 10, refused: "" })
    expect(await second.ended()).toMatchObject({ code: 0 })
    expect(await first.ended()).toMatchObject({ code: 0 })
  })

  test("control: without the limit the same bomb goes off", async () => {
    await using sandbox = limitedSandbox({ plan: { groups: [], notes: [] }, ...as }, forkBomb(BOMB_MAX))
    expect(JSON.parse(await sandbox.line())).toEqual({ started: BOMB_MAX, refused: "" })
  })

  test("the limit cannot be raised from inside", async () => {
    const script =
      "ulimit -u 4096 || ulimit -p 4096; ulimit -Hu 4096 || ulimit -Hp 4096; cat /proc/self/limits"
    const plan = limitsHere({ pids: 32 })
    await using sandbox = limitedSandbox({ plan, ...as }, ["sh", "-c", `{ ${script}; } 2>&1`])
    const { stdout } = await sandbox.ended()
    expect(stdout).toMatch(/^Max processes\s+32\s+32\s/m)
  })

  test("the kernel is to end the sandbox's processes first, those that they start too", async () => {
    const script =
      "cat /proc/self/oom_score_adj; echo 0 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj"
    const plan = limitsHere({})
    await using sandbox = limitedSandbox({ plan, ...as }, ["sh", "-c", script])
    const { stdout } = await sandbox.ended()
    // What a keeper with CAP_SYS_RESOURCE has set stays; anybody else's may be taken back by the same user.
    expect(stdout).toBe(holds(CAP_SYS_RESOURCE) ? "500\n500" : "500\n0")
  })

  test("a tmpfs ends at its size", async () => {
    const limits = { memory: "128m" }
    const plan = limitsHere({})
    const write = ["sh", "-c", "head -c 200M /dev/zero > /tmp/filler; wc -c < /tmp/filler"]
    await using small = limitedSandbox({ plan, tmpfs: tmpfsSize(limits), ...as }, write)
    const { stdout, stderr } = await small.ended()
    expect(stderr).toContain("No space left on device")
    expect(Number(stdout)).toBeLessThanOrEqual(64 * MIB)
    await using control = limitedSandbox({ plan, ...as }, write)
    expect(await control.ended()).toMatchObject({ stdout: String(200 * MIB), stderr: "" })
  })

  // `tail` keeps a line until it ends, and this one does not.
  const memoryBomb = ["sh", "-c", 'head -c 256M /dev/zero | tail > /dev/null; echo "ended with $?"']

  test("a memory bomb is ended inside the bottle, which lives on; or the preflight says that nothing would", async () => {
    const plan = limitsHere({ memory: "64m" })
    if (plan.groups.length === 0) {
      expect(plan.notes).toEqual([expect.stringMatching(/^limits not enforced here: memory \(/)])
      return
    }
    expect(plan.notes).toEqual([])
    await using sandbox = limitedSandbox({ plan, ...as }, memoryBomb)
    const { code, stdout } = await sandbox.ended()
    expect({ code, stdout }).toEqual({ code: 0, stdout: "ended with 137" })
  })

  test("control: without the limit the memory bomb goes off", async () => {
    await using sandbox = limitedSandbox({ plan: limitsHere({}), ...as }, memoryBomb)
    expect(await sandbox.ended()).toMatchObject({ code: 0, stdout: "ended with 0" })
  })

  test("a bottle that has used up its share of a processor waits; or the preflight says that it would not", async () => {
    const plan = limitsHere({ cpus: 0.2 })
    if (plan.notes.length > 0) {
      expect(plan.notes).toEqual([expect.stringMatching(/^limits not enforced here: cpus \(/)])
      return
    }
    const busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done"
    await using sandbox = limitedSandbox({ plan, ...as }, ["sh", "-c", busy])
    expect(await sandbox.ended()).toMatchObject({ stdout: "done" })
    const stat = sandbox.cgroups.map((folder) => join(folder, "cpu.stat")).find(existsSync)
    expect(Number(/^nr_throttled (\d+)/m.exec(readFileSync(stat ?? "", "utf8"))?.[1])).toBeGreaterThan(0)
  })
})

describe("control groups", () => {
  test("version 2 ends all members of a group at once", async () => {
    const mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((one) =>
      existsSync(`${one}/cgroup.controllers`),
    )
    // Without a writable one there is nothing that a bottle could have made, and so nothing to end.
    if (mount === undefined || !isWritable(mount)) return expect(asRoot && mount !== undefined).toBe(false)
    const identity = `test-${crypto.randomUUID().slice(0, 8)}`
    const plan: LimitPlan = { groups: [{ parent: mount, hand: [], writes: [] }], notes: [] }
    const folders = makeCgroups(plan, identity)
    const child = spawn("sh", ["-c", "sleep 60 & sleep 60 & wait"], { stdio: "ignore" })
    joinCgroups(child.pid!, folders)
    const ended = new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)))
    await removeCgroups(identity, folders)
    expect(await ended).toBe("SIGKILL")
    expect(folders.filter(existsSync)).toEqual([])
  })

  test("processes are counted in the group as well where groups are made", async () => {
    const plan: LimitPlan = limitsHere({ pids: 48, cpus: 1 })
    // Only the group: the rlimit is taken away.
    delete plan.nproc
    const counted = plan.groups.some(({ writes }) => writes.some(({ file }) => file === "pids.max"))
    expect(counted).toBe(limitFolders(thisMachine()).folders.pids !== undefined)
    if (!counted) return
    const as = asRoot ? { uid: 12345 } : {}
    await using sandbox = limitedSandbox({ plan, ...as }, forkBomb(BOMB_MAX))
    const { started, refused } = JSON.parse(await sandbox.line())
    expect(refused).toBe("EAGAIN")
    expect(started).toBeLessThan(48)
  })

  test("are gone after the bottle, found by its name alone, and what runs in them is ended", async () => {
    const plan = limitsHere({ memory: "64m", cpus: 1 })
    const identity = `test-${crypto.randomUUID().slice(0, 8)}`
    const folders = makeCgroups(plan, identity)
    expect(folders).toHaveLength(plan.groups.length)
    const ends = folders.map((folder) => {
      const child = spawn("sleep", ["60"], { stdio: "ignore" })
      joinCgroups(child.pid!, [folder])
      return new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)))
    })
    await removeCgroups(identity)
    expect(await Promise.all(ends)).toEqual(folders.map(() => "SIGKILL"))
    expect(folders.filter(existsSync)).toEqual([])
  })

  test("a held process that nobody lets go starts nothing", async () => {
    const child = spawn(heldPrefix(3)[0]!, [...heldPrefix(3).slice(1), "echo", "started"], {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    })
    let said = ""
    for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (bytes) => (said += bytes))
    const closed = new Promise((resolve) => child.once("close", resolve))
    ;(child.stdio[3] as NodeJS.WritableStream).end()
    expect(await closed).toBe(125)
    expect(said).toBe("bottle: the sandbox was not let go, so nothing was started\n")
  })
})

test("a disk that an agent fills ends its bottle, by space and by number of files, and a small one does not at once", async () => {
  using folder = temporaryFolder()
  const disk = join(folder.path, "disk")
  mkdirSync(disk)
  // In a mount namespace of its own: the disk vanishes with the process that sees it.
  const script =
    'mount -t tmpfs -o size=32m,nr_inodes=910,mode=0700 tmpfs "$1" && exec "$2" --no-env-file "$3" "$1"'
  const argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", disk]
  const { stdout, stderr } = await run([...argv, process.execPath, DISK_GUARD], { timeoutMs: 60_000 })
  expect(stderr).toBe("")
  const told = JSON.parse(stdout)
  expect(told.early).toEqual([])
  expect(told.space).toEqual([
    expect.stringMatching(
      /^the disk of .*\/home is nearly full: 1[12] MiB are free, and an agent is ended below 1[56] MiB$/,
    ),
  ])
  expect(told.files).toEqual([
    expect.stringMatching(/^the disk of .*\/home can hold only \d+ more files, and/),
  ])
  expect(told.gone).toEqual([
    expect.stringMatching(/^the free space of .*\/home cannot be read any more: ENOENT/),
  ])
}, 90_000)
