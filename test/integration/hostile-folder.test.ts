/**
 * A repository that was just cloned may hold files that Bun reads from the folder it starts in. Each of them is tried
 * on both ways to run bottle, and on the same program without the protection, where the attack has to succeed.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"

const project = join(import.meta.dirname, "..", "..")
const main = join(project, "src", "main.ts")
/** What an attack that works makes appear in the output */
const MARK = "hostile-folder-took-effect"
/** A verb that is loaded after bottle has gone to the caller's folder, and needs nothing of the machine */
const VERB = ["list", "available"]

let work: string
let binary: string
let unprotected: string

interface Attack {
  files: Record<string, string>
  /** argv of the control, from source */
  control: () => string[]
}

const evil = { "evil.ts": `console.log("${MARK}")\nexport default {}\n` }
const fromSource = () => [process.execPath, main, ...VERB]

const attacks: Record<string, Attack> = {
  "bunfig.toml that preloads code": {
    files: { ...evil, "bunfig.toml": `preload = ["./evil.ts"]\n` },
    control: fromSource,
  },
  ".env that moves BOTTLE_HOME into the repository": {
    files: {
      ".env": "BOTTLE_HOME=$PWD/home\n",
      "home/agents/hostile-folder-took-effect.md": "---\nbottle: dev\n---\nHello\n",
      "home/bottles/dev.md": "---\n{}\n---\n",
    },
    control: fromSource,
  },
  "tsconfig.json that maps imports to code of its own": {
    files: {
      ...evil,
      "tsconfig.json": JSON.stringify({ compilerOptions: { baseUrl: ".", paths: { "*": ["./evil.ts"] } } }),
      // A binary resolves nothing at run time but what a bunfig.toml asks for.
      "bunfig.toml": `preload = ["no-such-package"]\n`,
    },
    control: fromSource,
  },
  "tsconfig.json with a JSX runtime of its own": {
    files: {
      ...evil,
      "node_modules/evil/package.json": JSON.stringify({ name: "evil", version: "1.0.0" }),
      "node_modules/evil/jsx-dev-runtime.js": `console.log("${MARK}"); export const jsxDEV = () => {}\n`,
      "node_modules/evil/jsx-runtime.js": `console.log("${MARK}"); export const jsx = () => {}\n`,
      "tsconfig.json": JSON.stringify({ compilerOptions: { jsx: "react-jsx", jsxImportSource: "evil" } }),
      "view.tsx": "console.log(<div />)\n",
      "bunfig.toml": `preload = ["./view.tsx"]\n`,
    },
    control: fromSource,
  },
  "package.json that names code of its own": {
    files: {
      ...evil,
      "package.json": JSON.stringify({ name: "evil", imports: { "#evil": "./evil.ts" } }),
      "bunfig.toml": `preload = ["#evil"]\n`,
    },
    control: fromSource,
  },
  "package.json with a script called bottle": {
    files: { "package.json": JSON.stringify({ name: "evil", scripts: { bottle: `echo ${MARK}` } }) },
    // What a wrapper that does not leave the folder would do: the project's own script has this name too.
    control: () => [process.execPath, "run", "bottle", ...VERB],
  },
}

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "hostile-"))
  binary = join(work, "bottle")
  unprotected = join(work, "unprotected")
  const built = await run([process.execPath, "--no-env-file", "scripts/build.ts", binary], { cwd: project })
  if (built.code !== 0) throw new Error(built.stderr)
  // Bun's own defaults, and the two files that it leaves out by default.
  const options = ["--compile", "--splitting", "--format=esm", "--external=react-devtools-core"]
  const more = ["--compile-autoload-tsconfig", "--compile-autoload-package-json", `--outfile=${unprotected}`]
  const control = await run([process.execPath, "build", main, ...options, ...more], { cwd: project })
  if (control.code !== 0) throw new Error(control.stderr)
}, 120_000)

afterAll(() => rm(work, { recursive: true, force: true }))

async function folderOf(attack: Attack) {
  const path = await mkdtemp(join(work, "folder-"))
  for (const [name, text] of Object.entries(attack.files)) {
    await mkdir(dirname(join(path, name)), { recursive: true })
    await writeFile(join(path, name), text.replaceAll("$PWD", path))
  }
  return path
}

/** Runs a program in the hostile folder as a user with an empty home; hands back all that it wrote. */
async function outputIn(folder: string, argv: string[]): Promise<{ code: number; output: string }> {
  const home = join(work, "home")
  await mkdir(home, { recursive: true })
  const env = { PATH: process.env.PATH, HOME: home, NO_COLOR: "1" }
  const { code, stdout, stderr } = await run(argv, { cwd: folder, env, timeoutMs: 60_000 })
  return { code, output: stdout + stderr }
}

for (const [name, attack] of Object.entries(attacks)) {
  describe(name, () => {
    test("has no effect on scripts/bottle", async () => {
      const folder = await folderOf(attack)
      const ours = await outputIn(folder, [join(project, "scripts", "bottle"), ...VERB])
      expect(ours).toMatchObject({ code: 0 })
      expect(ours.output).not.toContain(MARK)
      expect(ours.output).toContain("no agents")
      expect((await outputIn(folder, attack.control())).output).toContain(MARK)
    }, 60_000)

    // A binary has no scripts to run.
    if (name.endsWith("called bottle")) return
    test("has no effect on the binary", async () => {
      const folder = await folderOf(attack)
      const ours = await outputIn(folder, [binary, ...VERB])
      expect(ours).toMatchObject({ code: 0 })
      expect(ours.output).not.toContain(MARK)
      expect(ours.output).toContain("no agents")
      expect((await outputIn(folder, [unprotected, ...VERB])).output).toContain(MARK)
    }, 60_000)
  })
}

test("scripts/bottle works in the caller's folder, also through a link", async () => {
  const folder = await mkdtemp(join(work, "caller-"))
  await mkdir(join(folder, ".bottle", "agents"), { recursive: true })
  await writeFile(join(folder, ".bottle", "agents", "from-here.md"), "---\nbottle: dev\n---\nHello\n")
  await symlink(join(project, "scripts", "bottle"), join(folder, "linked"))
  for (const program of [join(project, "scripts", "bottle"), join(folder, "linked"), binary]) {
    expect((await outputIn(folder, [program, ...VERB])).output).toContain("from-here")
  }
})
