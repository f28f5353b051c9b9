import { expect, test } from "bun:test"
import { chmodSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import fc from "fast-check"
import { readElf } from "../../src/backend/bubblewrap/elf.ts"
import type { Mount } from "../../src/backend/bubblewrap/mount.ts"
import { interpreterOf, launchedBy } from "../../src/backend/bubblewrap/shebang.ts"
import { findTool, type Tool } from "../../src/backend/bubblewrap/tool.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { elfFile } from "../fixtures/elf.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const BIN = "/opt/bottle/tools/bin"
const ELF = elfFile({})

/** A home with the given programs (executable), links (`-> target`) and, where the name says so, other files. */
function home(entries: Record<string, string | Buffer>): { path: string } & Disposable {
  const folder = temporaryFolder()
  const path = realpathSync(folder.path)
  chmodSync(path, 0o755)
  for (const [name, content] of Object.entries(entries)) {
    mkdirSync(join(path, dirname(name)), { recursive: true })
    if (typeof content === "string" && content.startsWith("-> ")) {
      symlinkSync(content.slice(3).replaceAll("HOME", path), join(path, name))
    } else {
      const text = typeof content === "string" ? content.replaceAll("HOME", path) : content
      writeFileSync(join(path, name), text, { mode: /\.(json|cfg|conf)$/.test(name) ? 0o644 : 0o755 })
    }
  }
  return { path, [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

function find(program: string, at: { path: string }, ...folders: string[]): Tool {
  return findTool(program, {
    PATH: [...folders.map((one) => join(at.path, one)), "/usr/bin", "/bin"].join(":"),
  })
}

function fault(action: () => unknown): BottleError {
  try {
    action()
  } catch (error) {
    expect(error).toBeInstanceOf(BottleError)
    return error as BottleError
  }
  throw new Error("nothing was thrown")
}

/** Where the entries lead, by their place inside, with the host's folder taken off. */
function view(tool: Tool, at: { path: string }): Record<string, string> {
  const shown = (mount: Mount): string => {
    if (mount.kind === "ro-bind") return mount.from.replace(`${at.path}/`, "")
    if (mount.kind === "symlink") return `-> ${mount.target}`
    return mount.kind === "file" ? mount.content : mount.kind
  }
  return Object.fromEntries(tool.mounts.map((mount) => [mount.to, shown(mount)]))
}

test("a program of the system needs nothing", () => {
  const tool = findTool("sh", { PATH: "/usr/bin:/bin" })
  expect(tool).toEqual({ path: "/usr/bin/sh", mounts: [], pathFolders: [] })
})

test("a binary behind a link of the home is bound alone, under the name it is called by", () => {
  using at = home({
    ".local/bin/claude": "-> ../share/claude/versions/2.1.329",
    ".local/share/claude/versions/2.1.329": ELF,
    ".local/share/claude/token": "secret",
  })
  const tool = find("claude", at, ".local/bin")
  expect(tool.path).toBe(`${BIN}/claude`)
  expect(tool.pathFolders).toEqual([BIN])
  expect(view(tool, at)).toEqual({
    "/opt/bottle/tools/1/2.1.329": ".local/share/claude/versions/2.1.329",
    [`${BIN}/claude`]: "-> /opt/bottle/tools/1/2.1.329",
  })
})

test("a path is taken as well as a name", () => {
  using at = home({ "x/agent": ELF })
  expect(findTool(join(at.path, "x/agent"), {}).path).toBe(`${BIN}/agent`)
})

test("libraries beside a binary keep their place, and theirs too", () => {
  using at = home({
    "app/bin/tool": elfFile({ needed: ["libone.so.1", "libc.so.6"], runpath: "$ORIGIN/../lib" }),
    "app/lib/libone.so.1": "-> libone.so.1.2",
    "app/lib/libone.so.1.2": elfFile({ needed: ["libtwo.so"], runpath: `$\{ORIGIN}/private` }),
    "app/lib/private/libtwo.so": elfFile({}),
    "app/lib/libunused.so": elfFile({}),
  })
  const shown = view(find("tool", at, "app/bin"), at)
  expect(shown).toEqual({
    "/opt/bottle/tools/1/lib/libone.so.1": "app/lib/libone.so.1.2",
    "/opt/bottle/tools/1/lib/private/libtwo.so": "app/lib/private/libtwo.so",
    "/opt/bottle/tools/1/bin/tool": "app/bin/tool",
    [`${BIN}/tool`]: "-> /opt/bottle/tools/1/bin/tool",
  })
})

test("a binary built for another C library is refused with the loader's name", () => {
  using at = home({ tool: elfFile({ loader: "/lib/ld-no-such-loader.so.1" }) })
  const { why, next } = fault(() => find("tool", at, "."))
  expect(why).toContain("/lib/ld-no-such-loader.so.1")
  expect(next).toContain("musl")
})

test("a script's interpreter that env looks for comes along by its name", () => {
  using at = home({ "bin/agent": "#!/usr/bin/env -S node --no-warnings\n", "node-v22/bin/node": ELF })
  const tool = find("agent", at, "bin", "node-v22/bin")
  expect(view(tool, at)).toEqual({
    "/opt/bottle/tools/1/agent": "bin/agent",
    "/opt/bottle/tools/2/node": "node-v22/bin/node",
    [`${BIN}/node`]: "-> /opt/bottle/tools/2/node",
    [`${BIN}/agent`]: "-> /opt/bottle/tools/1/agent",
  })
})

test("a script whose interpreter lies elsewhere is run by it from a launcher", () => {
  using at = home({ "bin/agent": "#!HOME/it's/run -x -y\n", "it's/run": ELF })
  const tool = find("agent", at, "bin")
  const launcher = tool.mounts.find(({ to }) => to === `${BIN}/agent`)
  expect(launcher).toEqual({
    kind: "file",
    to: `${BIN}/agent`,
    content: `#!/bin/sh\nexec '/opt/bottle/tools/2/run' '-x -y' '/opt/bottle/tools/1/agent' "$@"\n`,
    mode: 0o755,
  })
  expect(tool.path).toBe(`${BIN}/agent`)
})

test("scripts that run each other end with an explanation", () => {
  using at = home({ a: "#!HOME/b\n", b: "#!HOME/a\n" })
  expect(fault(() => find("a", at, ".")).why).toContain("without an end")
})

test("a package that brings its dependencies is bound alone", () => {
  const modules = "node/lib/node_modules"
  using at = home({
    "node/bin/codex": `-> ../lib/node_modules/@openai/codex/bin/codex.js`,
    "node/bin/node": ELF,
    [`${modules}/@openai/codex/bin/codex.js`]: "#!/usr/bin/env node\n",
    [`${modules}/@openai/codex/package.json`]: `{"optionalDependencies": {"@openai/codex-linux-x64": "1", "@openai/codex-darwin": "1"}}`,
    [`${modules}/@openai/codex/node_modules/@openai/codex-linux-x64/codex`]: ELF,
    [`${modules}/other/package.json`]: "{}",
  })
  const tool = find("codex", at, "node/bin")
  const inside = "/opt/bottle/tools/1/node_modules/@openai/codex"
  expect(view(tool, at)).toMatchObject({
    [inside]: `${modules}/@openai/codex`,
    [`${BIN}/codex`]: `-> ${inside}/bin/codex.js`,
    [`${BIN}/node`]: "-> /opt/bottle/tools/2/node",
  })
  expect(tool.mounts).toHaveLength(4)
})

test("a package whose dependencies stand beside it is bound with them, and with nothing of the project", () => {
  using at = home({
    "app/node_modules/.bin/lint": "-> ../lint/bin/lint.js",
    "app/node_modules/lint/bin/lint.js": "#!/bin/sh\n",
    "app/node_modules/lint/package.json": `{"dependencies": {"parse": "1"}}`,
    "app/node_modules/parse/package.json": "{}",
    "app/.env": "secret",
  })
  expect(view(find("lint", at, "app/node_modules/.bin"), at)).toEqual({
    "/opt/bottle/tools/1/node_modules": "app/node_modules",
    [`${BIN}/lint`]: "-> /opt/bottle/tools/1/node_modules/lint/bin/lint.js",
  })
})

test("packages in Bun's folder of the home are found there, and the folder itself stays out", () => {
  using at = home({
    ".bun/bin/claude": "-> ../install/global/node_modules/@anthropic-ai/claude-code/bin/claude.exe",
    ".bun/install/global/node_modules/@anthropic-ai/claude-code/bin/claude.exe": ELF,
    ".bun/install/global/node_modules/@anthropic-ai/claude-code/package.json": `{"dependencies": {}}`,
  })
  const bound = find("claude", at, ".bun/bin").mounts.flatMap((one) =>
    one.kind === "ro-bind" ? [one.from] : [],
  )
  expect(bound).toEqual([join(at.path, ".bun/install/global/node_modules/@anthropic-ai/claude-code")])
})

test("what a launcher of pnpm starts is taken in its place, with the folder that its packages share", () => {
  using at = home({
    "pnpm/agent": `#!/bin/sh
basedir=$(dirname "$(echo "$0" | sed -e 's,\\\\,/,g')")
if [ -x "$basedir/node" ]; then
  exec "$basedir/node"  "$basedir/global/5/node_modules/agent/cli.js" "$@"
else
  exec node  "$basedir/global/5/node_modules/agent/cli.js" "$@"
fi
`,
    "pnpm/global/5/node_modules/agent": "-> ../.pnpm/agent@1.0.0/node_modules/agent",
    "pnpm/global/5/.pnpm/agent@1.0.0/node_modules/agent/cli.js": "#!/usr/bin/env node\n",
    "bin/node": ELF,
  })
  const shown = view(find("agent", at, "pnpm", "bin"), at)
  expect(shown["/opt/bottle/tools/2/.pnpm"]).toBe("pnpm/global/5/.pnpm")
  expect(shown[`${BIN}/agent`]).toBe(
    `#!/bin/sh\nexec '/opt/bottle/tools/1/node' '/opt/bottle/tools/2/.pnpm/agent@1.0.0/node_modules/agent/cli.js' "$@"\n`,
  )
})

test.each([
  ["a folder", "../private"],
  ["a file", "../private/key.conf"],
  ["a package's folder", "node_modules/agent"],
])("a launcher that names %s of the home gets nothing of it", (_, file) => {
  using at = home({
    "pnpm/agent": `#!/bin/sh\nbasedir=$(dirname "$0")\nexec sh "$basedir/${file}" "$@"\n`,
    "pnpm/node_modules/agent/cli.js": "",
    "private/key.conf": "secret",
  })
  const { why, next } = fault(() => find("agent", at, "pnpm"))
  expect(why).toContain("no file of a package")
  expect(next).toContain("by its own path")
})

test.each([
  ["relative to itself", "$ORIGIN/../private"],
  ["by its path", "HOME/private"],
])("a file that is no library is not taken for one that a binary needs, found %s", (_, runpath) => {
  using at = home({ "private/key.conf": "secret" })
  const folder = runpath.replace("HOME", at.path)
  mkdirSync(join(at.path, "bin"))
  const tool = elfFile({ needed: ["key.conf"], runpath: folder })
  writeFileSync(join(at.path, "bin/tool"), tool, { mode: 0o755 })
  expect(Object.values(view(find("tool", at, "bin"), at))).not.toContain("private/key.conf")
})

test("a file that is no loader is not taken for a binary's", () => {
  using at = home({ "private/key.conf": "secret" })
  const loader = join(at.path, "private/key.conf")
  writeFileSync(join(at.path, "tool"), elfFile({ loader }), { mode: 0o755 })
  expect(fault(() => find("tool", at, ".")).why).toContain(loader)
})

test("a virtual environment's packages are not looked for behind a link", () => {
  using at = home({
    "venv/bin/python": "-> /usr/bin/env",
    "venv/lib/python3.12": "-> HOME/private",
    "venv/pyvenv.cfg": "home = /usr/bin\n",
    "private/key.conf": "secret",
  })
  const tool = findTool(join(at.path, "venv/bin/python"), {})
  expect(Object.values(view(tool, at))).not.toContain("private")
})

test("a virtual environment is put together from its packages, without its configuration of pip", () => {
  using at = home({
    ".local/bin/aider": "-> ../pipx/venvs/aider/bin/aider",
    ".local/pipx/venvs/aider/bin/aider": "#!HOME/.local/pipx/venvs/aider/bin/python\n",
    ".local/pipx/venvs/aider/bin/python": "-> HOME/py/bin/python3.12",
    ".local/pipx/venvs/aider/lib/python3.12/site-packages/aider.py": "",
    ".local/pipx/venvs/aider/pyvenv.cfg":
      "home = HOME/py/bin\nversion = 3.12.1\ncommand = HOME/py/bin/python -m venv\n",
    ".local/pipx/venvs/aider/pip.conf": "password",
    "py/bin/python3.12": ELF,
    "py/lib/python3.12/os.py": "",
    "py/pip.conf": "password",
  })
  const shown = view(find("aider", at, ".local/bin"), at)
  expect(shown).toEqual({
    "/opt/bottle/tools/1/aider": ".local/pipx/venvs/aider/bin/aider",
    "/opt/bottle/tools/2/lib/python3.12": "py/lib/python3.12",
    "/opt/bottle/tools/2/bin/python3.12": "py/bin/python3.12",
    "/opt/bottle/tools/3/lib/python3.12": ".local/pipx/venvs/aider/lib/python3.12",
    "/opt/bottle/tools/3/pyvenv.cfg": "home = /opt/bottle/tools/2/bin\nversion = 3.12.1\n",
    "/opt/bottle/tools/3/bin/python": "-> /opt/bottle/tools/2/bin/python3.12",
    "/opt/bottle/tools/3/bin/python3": "-> /opt/bottle/tools/2/bin/python3.12",
    [`${BIN}/aider`]: `#!/bin/sh\nexec '/opt/bottle/tools/3/bin/python' '/opt/bottle/tools/1/aider' "$@"\n`,
  })
})

test("a missing program is told with the way to install it and where it was looked for", () => {
  using at = home({})
  const { what, why, next } = fault(() => findTool("claude", { PATH: `${at.path}/bin:/nowhere` }))
  expect(what).toBe("`claude` is not installed on this machine")
  expect(why).toContain(`${at.path}/bin, /nowhere`)
  expect(next).toContain("npm i -g @anthropic-ai/claude-code")
})

test("a file that is not executable, a link that leads nowhere and a folder are told apart", () => {
  using at = home({ "bin/plain.conf": "", "bin/gone": "-> nowhere", "bin/folder/x": "" })
  expect(fault(() => find("plain.conf", at, "bin")).next).toContain("chmod +x")
  expect(fault(() => find("gone", at, "bin")).why).toContain("leads nowhere")
  expect(fault(() => find("folder", at, "bin")).why).toContain("not a file")
})

test("a program that cannot be run is passed over for a later one that can, as a shell does", () => {
  using at = home({ "a/tool": "-> nowhere", "b/tool": ELF })
  expect(view(find("tool", at, "a", "b"), at)["/opt/bottle/tools/1/tool"]).toBe("b/tool")
})

test("a relative folder of PATH is not searched: a repository could put the agent there", () => {
  expect(fault(() => findTool("README.md", { PATH: ".:" })).what).toContain("not installed")
})

test("a version manager's stand-in is passed over, and told when there is nothing else", () => {
  using at = home({
    ".pyenv/shims/agent": "#!/usr/bin/env bash\n",
    ".volta/bin/agent": "-> volta-shim",
    ".volta/bin/volta-shim": ELF,
    "real/agent": ELF,
  })
  expect(view(find("agent", at, ".pyenv/shims", ".volta/bin", "real"), at)["/opt/bottle/tools/1/agent"]).toBe(
    "real/agent",
  )
  expect(fault(() => find("agent", at, ".pyenv/shims")).next).toContain("pyenv which agent")
  expect(fault(() => find("agent", at, ".volta/bin")).next).toContain("volta which agent")
})

test.each<[string, ReturnType<typeof interpreterOf>]>([
  ["#!/bin/sh\n", { by: "path", path: "/bin/sh", args: [] }],
  ["#! /usr/bin/perl -w -T \nx", { by: "path", path: "/usr/bin/perl", args: ["-w -T"] }],
  ["#!/usr/bin/env node", { by: "name", name: "node" }],
  ["#!/usr/bin/env -S A=b -u C python3 -u\n", { by: "name", name: "python3" }],
  ["#!/usr/bin/env /opt/x/python\n", { by: "path", path: "/opt/x/python", args: [] }],
  [
    "#!/bin/sh\n'''exec' '/a b/bin/python' \"$0\" \"$@\"\n' '''\n",
    { by: "path", path: "/a b/bin/python", args: [] },
  ],
  ["#!relative/sh\n", undefined],
  ["no script", undefined],
])("the interpreter of %j is found", (text, expected) => {
  expect(interpreterOf(text)).toEqual(expected)
})

test("a script of one's own that happens to say exec is no launcher", () => {
  expect(launchedBy('#!/bin/sh\nexec node "$basedir/x" "$@"\n')).toBeUndefined()
})

test("a damaged binary is read as none, whatever is in it", () => {
  using folder = temporaryFolder()
  const path = join(folder.path, "elf")
  const whole = elfFile({ loader: "/lib/ld.so", needed: ["liba.so"], runpath: "$ORIGIN" })
  writeFileSync(path, whole)
  expect(readElf(path)).toEqual({ loader: "/lib/ld.so", needed: ["liba.so"], searchPath: ["$ORIGIN"] })
  const changes = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(changes, fc.nat(whole.length), (bytes, length) => {
      const damaged = Buffer.from(whole)
      for (const [at, value] of bytes) damaged[at] = value
      writeFileSync(path, damaged.subarray(0, length))
      const found = readElf(path)
      expect(found === undefined || Array.isArray(found.needed)).toBe(true)
    }),
    { numRuns: 500 },
  )
})
