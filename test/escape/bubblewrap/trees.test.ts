/** Folders that go into a bottle, hostile ones among them, and what an agent leaves in those that come out. */
import { afterEach, describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AGENT_HOME, WORKSPACE } from "../../../src/policy/paths.ts"
import { run } from "../../../src/runtime/spawn.ts"
import {
  bottleNamed,
  control,
  forEachCaller,
  host,
  outside,
  processesOf,
  type World,
  withMounts,
} from "./bottle.ts"

const SECRET = ["a secret", "of the host"].join(" ")
/** Ends with 0 when it is told to */
const UNTIL_TOLD = "mkfifo /tmp/end && read -r _ </tmp/end; exit 0"
const TELL = "until [ -p /tmp/end ]; do :; done; echo >/tmp/end"

/** To the first shell that there was, which is the agent */
const HANG_UP =
  'for at in $(cd /proc; printf "%s\\n" [0-9]* | sort -n); do [ "$(</proc/$at/comm)" = bash ] && kill -HUP $at && exit; done'

interface Scene extends Disposable {
  /** A folder to copy, the caller's own */
  tree: string
  /** A folder of the caller's that no bottle may touch, with one file in it */
  precious: string
}

function scene(world: World): Scene {
  const top = realpathSync(mkdtempSync(join(tmpdir(), "bottle-trees-")))
  const [tree, precious] = [join(top, "tree"), join(top, "precious")] as const
  for (const folder of [tree, precious]) mkdirSync(folder)
  const file = join(precious, "precious")
  writeFileSync(file, SECRET, { mode: 0o600 })
  world.own(top, tree, precious, file)
  return { tree, precious, [Symbol.dispose]: () => rmSync(top, { recursive: true, force: true }) }
}

/** All that could have been changed about the precious file. */
function stateOf({ precious }: Scene) {
  const path = join(precious, "precious")
  const { mode, uid, mtimeMs, nlink } = statSync(path)
  return { names: readdirSync(precious), text: readFileSync(path, "utf8"), mode, uid, mtimeMs, nlink }
}

forEachCaller((caller) => {
  afterEach(() => caller().world.discardAll())

  const detached = async (script: string, options: { args?: string[]; cwd?: string } = {}) => {
    const { world } = caller()
    return bottleNamed(world, await world.detached(script, options))
  }
  /** Resolves when the bottle's processes are gone. */
  const over = async (keeper: number) =>
    await run(["tail", "--pid", String(keeper), "--sleep-interval", "0.05", "--follow", "/dev/null"])

  describe("a folder that goes in", () => {
    test("with links to the host's files and up, has them as links that lead nowhere inside", async () => {
      const { world } = caller()
      using here = scene(world)
      symlinkSync(join(here.precious, "precious"), join(here.tree, "absolute"))
      symlinkSync("../precious/precious", join(here.tree, "upwards"))
      symlinkSync(`${"../".repeat(40)}etc/shadow`, join(here.tree, "shadow"))
      symlinkSync("/proc/1/root/etc/shadow", join(here.tree, "through-proc"))
      symlinkSync(here.precious, join(here.tree, "folder"))
      const inside = await detached("sleep infinity", { args: ["--cwd"], cwd: here.tree })
      const { got } = await inside.attack("trees.py", "look_at_copy", { folder: WORKSPACE })
      const nowhere = ["lrwxrwxrwx", "ENOENT"]
      expect(got).toEqual({
        ...{ absolute: nowhere, upwards: nowhere, shadow: nowhere, "through-proc": nowhere, folder: nowhere },
      })
      // A copy that follows links takes the secret along.
      using followed = control()
      await host(
        "cp",
        "--recursive",
        "--dereference",
        join(here.tree, "absolute"),
        followed.folders.workspace,
      )
      await host("chmod", "a+r", join(followed.folders.workspace, "absolute"))
      expect(await followed.attack("trees.py", "look_at_copy", { folder: WORKSPACE })).toEqual({
        got: { absolute: [expect.any(String), SECRET] },
      })
    })

    test("with a second name of the host's file, has a copy of it, and the host's stays as it was", async () => {
      const { world } = caller()
      using here = scene(world)
      linkSync(join(here.precious, "precious"), join(here.tree, "linked"))
      const before = stateOf(here)
      const arg = { path: `${WORKSPACE}/linked`, text: "overwritten" }
      const inside = await detached("sleep infinity", { args: ["--cwd"], cwd: here.tree })
      expect(await inside.attack("trees.py", "write_into", arg)).toEqual({ got: "written" })
      expect(stateOf(here)).toEqual(before)
      // The folder itself in the place of a copy.
      using open = control([withMounts("--bind", here.tree, WORKSPACE)], { uid: world.as?.uid ?? 0 })
      expect(await open.attack("trees.py", "write_into", arg)).toEqual({ got: "written" })
      expect(stateOf(here).text).toContain("overwritten")
    })

    test("with set-id programs, pipes, sockets and devices, has programs without the bit and no other of them", async () => {
      const { world } = caller()
      using here = scene(world)
      const program = join(here.tree, "program")
      await host("cp", "/usr/bin/env", program)
      world.own(program)
      chmodSync(program, 0o6755)
      await host("mkfifo", join(here.tree, "pipe"))
      await host("mknod", join(here.tree, "device"), "b", "7", "0")
      const server = createServer()
      server.listen(join(here.tree, "socket"))
      await once(server, "listening")
      using _ = { [Symbol.dispose]: () => void server.close() }
      const inside = await detached("sleep infinity", { args: ["--cwd"], cwd: here.tree })
      const list = await inside.run(["bash", "-c", `cd ${WORKSPACE}; stat -c '%n %A' *`])
      expect(list.stdout.trim()).toBe("program -rwxr-xr-x")
      expect(statSync(program).mode & 0o7777).toBe(0o6755)
    })
  })

  describe("what comes out", () => {
    test("of a bottle with nothing to keep is removed, and what its links lead to is not", async () => {
      const { world } = caller()
      using here = scene(world)
      const before = stateOf(here)
      const inside = await detached(UNTIL_TOLD)
      const { keeper } = await processesOf(inside)
      const arg = { folder: AGENT_HOME, target: here.precious }
      const { got } = await inside.attack("trees.py", "leave_traps", arg)
      expect(got).toEqual(expect.arrayContaining(["to-a-folder", "by-dots", "deep", "locked", "-rf"]))
      await naiveRemovalTakes(join(inside.dir, "agent"), scene(world))
      await inside.run(["bash", "-c", TELL])
      await over(keeper)
      expect(await world.bottle("stop", inside.identity)).toMatchObject({ code: 0 })
      expect(await world.remains()).toEqual({ running: [], work: [], state: [] })
      expect(stateOf(here)).toEqual(before)
    })

    test("of a bottle with work is kept, resumed and ended again, and what its links lead to is left alone", async () => {
      const { world } = caller()
      using here = scene(world)
      const before = stateOf(here)
      const inside = await detached("sleep infinity")
      for (const folder of [WORKSPACE, AGENT_HOME])
        await inside.attack("trees.py", "leave_traps", { folder, target: here.precious })
      const stopped = await world.bottle("stop", inside.identity)
      expect(stopped.code).toBe(0)
      // Names that an agent chose are shown without what would steer a terminal.
      expect(stopped.stderr + stopped.stdout).not.toContain("\u001b")
      expect((await outside().run(["ls", join(inside.dir, "workspace")])).stdout).toContain("\u001b")
      expect(stateOf(here)).toEqual(before)
      expect(await world.bottle("resume", inside.identity, "--yes", "--detach")).toMatchObject({ code: 0 })
      const list = await inside.run(["ls", "-A", WORKSPACE])
      expect(list.stdout).toContain("to-a-folder")
      // A shell on a terminal does not end when it is asked to by a stop, but when its terminal is gone.
      const { keeper } = await processesOf(inside)
      await inside.run(["bash", "-c", HANG_UP])
      await over(keeper)
      expect(await world.bottle("stop", inside.identity)).toMatchObject({ code: 0 })
      expect(stateOf(here)).toEqual(before)
      await host("rm", "--recursive", "--force", inside.dir)
      expect(readFileSync("/etc/passwd", "utf8")).toContain("root:")
    })
  })
})

/** The control: a removal that goes by names, as scripts do it, takes what a link leads to. */
async function naiveRemovalTakes(home: string, other: Scene): Promise<void> {
  using here = other
  const copy = join(here.tree, `copy-${randomBytes(4).toString("hex")}`)
  mkdirSync(copy)
  symlinkSync(here.precious, join(copy, "to-a-folder"))
  expect(readdirSync(home)).toContain("to-a-folder")
  await run(["bash", "-c", 'for file in "$1"/*/*; do rm -f "$file"; done', "bash", copy])
  expect(readdirSync(here.precious)).toEqual([])
}
