import { expect, test } from "bun:test"
import { chmodSync, copyFileSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Mount, systemMounts } from "../../src/backend/bubblewrap/system.ts"
import { findTool } from "../../src/backend/bubblewrap/tool.ts"
import { type RunResult, run } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

/** Any user but root, in whose place a sandbox runs when root starts it */
const DROPPED = ["setpriv", "--reuid", "64321", "--regid", "64321", "--clear-groups", "--"]
const SYSTEM = systemMounts("dev-abcde")

/** A folder that every user can reach, without symbolic links in its path. */
function openFolder(): { path: string } & Disposable {
  const folder = temporaryFolder()
  chmodSync(folder.path, 0o755)
  return { path: realpathSync(folder.path), [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

/** One entry as options of bwrap; `file` is where its content is put when it has one. */
function optionsOf(mount: Mount, file: string): string[] {
  switch (mount.kind) {
    case "ro-bind":
      return ["--ro-bind", mount.from, mount.to]
    case "symlink":
      return ["--symlink", mount.target, mount.to]
    case "dir":
      return ["--dir", mount.to]
    case "empty":
      return ["--tmpfs", mount.to, "--remount-ro", mount.to]
    case "file":
      writeFileSync(file, mount.content)
      chmodSync(file, mount.mode)
      return ["--ro-bind", file, mount.to]
  }
}

/** Runs a command in a sandbox of these mounts alone. `scratch` holds the files that the mounts make up. */
async function inside(
  scratch: string,
  mounts: readonly Mount[],
  command: string[],
  path = "/usr/bin:/bin",
): Promise<RunResult> {
  const options = mounts.flatMap((mount, index) => optionsOf(mount, join(scratch, `made-${index}`)))
  const bwrap = [
    "bwrap",
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--uid",
    "1000",
    "--gid",
    "1000",
    "--hostname",
    "dev-abcde",
  ]
  const kernel = [
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/tmp",
    "--clearenv",
    "--setenv",
    "PATH",
    path,
    "--chdir",
    "/",
  ]
  const dropped = process.getuid!() === 0 ? DROPPED : []
  return run([...dropped, ...bwrap, ...options, ...kernel, "--", ...command])
}

/** Runs the tool as the agent would: by its path, with its folders in front of PATH. */
function use(scratch: string, program: string, folders: string[], args: string[]): Promise<RunResult> {
  const tool = findTool(program, { PATH: [...folders, "/usr/bin", "/bin"].join(":") })
  const path = [...tool.pathFolders, "/usr/bin", "/bin"].join(":")
  return inside(scratch, [...SYSTEM, ...tool.mounts], [tool.path, ...args], path)
}

function script(path: string, text: string): void {
  writeFileSync(path, text)
  chmodSync(path, 0o755)
}

test("programs of the system run, and know the agent, its machine and localhost", async () => {
  using folder = openFolder()
  const ask = `id -un; id -gn; uname -n; cat /etc/hostname; getent hosts dev-abcde; perl -e 'print "perl\\n"'; awk 'BEGIN { print "awk" }'`
  const { stdout, stderr } = await inside(folder.path, SYSTEM, ["bash", "-c", ask])
  expect(stderr).toBe("")
  const lines = stdout.trim().split("\n")
  expect(lines.slice(0, 4)).toEqual(["agent", "agent", "dev-abcde", "dev-abcde"])
  expect(lines[4]).toMatch(/^127\.0\.0\.1 .*dev-abcde/)
  expect(lines.slice(5)).toEqual(["perl", "awk"])
})

test("nothing of the host is there besides the system", async () => {
  using folder = openFolder()
  const ask = ["ls -A /", "ls -A /etc", "ls -A /usr/local/etc /usr/etc 2>/dev/null"].join("; echo --; ")
  const { stdout } = await inside(folder.path, SYSTEM, ["sh", "-c", ask])
  const [top, etc, local] = stdout.split("--\n").map((part) => part.split("\n").filter((name) => name !== ""))
  const known = [
    "bin",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "nix",
    "proc",
    "run",
    "sbin",
    "tmp",
    "usr",
  ]
  expect(top!.filter((name) => !known.includes(name))).toEqual([])
  const secret = [
    "shadow",
    "gshadow",
    "sudoers",
    "ssh",
    "gitconfig",
    "npmrc",
    "pip.conf",
    "environment",
    "machine-id",
  ]
  expect(etc).toContain("passwd")
  expect(etc!.filter((name) => secret.includes(name))).toEqual([])
  expect(local!.filter((line) => !line.endsWith(":"))).toEqual([])
})

test("the system cannot be written to", async () => {
  using folder = openFolder()
  const ask =
    "for at in /usr/x /usr/local/etc/x /etc/passwd /etc/services; do (: >>$at) 2>/dev/null && echo wrote $at; done; :"
  expect(await inside(folder.path, SYSTEM, ["bash", "-c", ask])).toEqual({ code: 0, stdout: "", stderr: "" })
})

test("a name of the outside is answered at once with no", async () => {
  using folder = openFolder()
  const { code } = await inside(folder.path, SYSTEM, ["timeout", "5", "getent", "hosts", "example.com"])
  expect(code).toBe(2)
})

test("a binary of a home runs", async () => {
  using folder = openFolder()
  mkdirSync(join(folder.path, "bin"))
  copyFileSync("/usr/bin/printf", join(folder.path, "agent-1.2"))
  symlinkSync("../agent-1.2", join(folder.path, "bin/agent"))
  const { stdout, stderr } = await use(
    folder.path,
    "agent",
    [join(folder.path, "bin")],
    ["%s|", "one", "two"],
  )
  expect(stderr).toBe("")
  expect(stdout).toBe("one|two|")
})

test("a script runs by an interpreter of a home, named or by its path, and can call itself by name", async () => {
  using folder = openFolder()
  const bin = join(folder.path, "bin")
  mkdirSync(bin)
  copyFileSync(realpathSync("/bin/sh"), join(bin, "own-sh"))
  script(
    join(bin, "named"),
    '#!/usr/bin/env own-sh\n[ "$1" = again ] && { echo "second $2"; exit; }\necho first; named again "$1"\n',
  )
  script(join(bin, "pathed"), `#!${bin}/own-sh -e\nfalse || echo "$@"\nfalse\necho not reached\n`)
  expect((await use(folder.path, "named", [bin], ["a b"])).stdout).toBe("first\nsecond a b\n")
  const pathed = await use(folder.path, "pathed", [bin], ["it's", "two words"])
  expect([pathed.stdout, pathed.code]).toEqual(["it's two words\n", 1])
})

test("a package runs with what stands beside it", async () => {
  using folder = openFolder()
  const modules = join(folder.path, "app/node_modules")
  for (const name of [".bin", "tool/bin", "words"]) mkdirSync(join(modules, name), { recursive: true })
  copyFileSync(process.execPath, join(folder.path, "runner"))
  chmodSync(join(folder.path, "runner"), 0o755)
  script(
    join(modules, "tool/bin/tool.js"),
    `#!/usr/bin/env runner\nconsole.log(require("words")(process.argv[2]))\n`,
  )
  writeFileSync(join(modules, "tool/package.json"), `{"dependencies": {"words": "1"}}`)
  writeFileSync(join(modules, "words/package.json"), `{"main": "index.js"}`)
  writeFileSync(join(modules, "words/index.js"), `module.exports = (name) => "hello " + name\n`)
  symlinkSync("../tool/bin/tool.js", join(modules, ".bin/tool"))
  const { stdout, stderr } = await use(folder.path, "tool", [join(modules, ".bin"), folder.path], ["there"])
  expect(stderr).toBe("")
  expect(stdout).toBe("hello there\n")
})

test("a program of a virtual environment finds its packages and nothing of the host's paths", async () => {
  using folder = openFolder()
  const venv = join(folder.path, "venvs/agent")
  const made = await run(["/usr/bin/python3", "-m", "venv", "--without-pip", venv])
  expect(made.code).toBe(0)
  const { stdout: site } = await run([
    `${venv}/bin/python`,
    "-c",
    "import site; print(site.getsitepackages()[0])",
  ])
  writeFileSync(join(site.trim(), "greeting.py"), "def say(name): return 'hello ' + name\n")
  writeFileSync(join(venv, "pip.conf"), "password")
  script(
    join(venv, "bin/agent"),
    `#!${venv}/bin/python\nimport sys, os, greeting\nprint(greeting.say(sys.argv[1]), sys.prefix, os.listdir(sys.prefix))\n`,
  )
  mkdirSync(join(folder.path, "bin"))
  symlinkSync("../venvs/agent/bin/agent", join(folder.path, "bin/agent"))
  const { stdout, stderr } = await use(folder.path, "agent", [join(folder.path, "bin")], ["there"])
  expect(stderr).toBe("")
  expect(stdout).toStartWith("hello there /opt/bottle/tools/")
  expect(stdout).not.toContain("pip.conf")
  expect(stdout).not.toContain(folder.path)
})
