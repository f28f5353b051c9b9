/**
 * The agent's own tool, taken from the host into the sandbox: found as the user's shell would find it, and bound
 * read-only with what it needs and no more. What is in /usr is seen anyway. For the rest a folder of its own is made
 * up below /opt/bottle/tools, so that neither the user's name nor a folder that holds more than programs gets in.
 */
import { closeSync, existsSync, openSync, readSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, join, relative, resolve } from "node:path"
import { BottleError } from "../../runtime/error.ts"
import type { HostEnv } from "../../runtime/home.ts"
import { isElf, readElf } from "./elf.ts"
import { type Library, librariesOf, sharedObjectsIn } from "./libraries.ts"
import type { Mount } from "./mount.ts"
import { packageFolderOf } from "./node-package.ts"
import { findProgram, type Program } from "./program.ts"
import {
  environmentOf,
  homeOf,
  isPythonName,
  movedConfiguration,
  standardLibraryOf,
  type VirtualEnvironment,
} from "./python.ts"
import { interpreterOf, launchedBy } from "./shebang.ts"
import { isBelow, isSystemPath, SYSTEM_PATH, staysInSystem } from "./system-path.ts"

/** A program that can be run inside */
export interface Tool {
  /** Absolute path inside the sandbox */
  path: string
  /** What has to be there besides the system, parents before children */
  mounts: Mount[]
  /** Folders to put in front of PATH inside */
  pathFolders: string[]
}

/** Folder inside the sandbox of everything that comes from elsewhere than /usr */
const TOOLS = "/opt/bottle/tools"
/** Folder inside the sandbox of the programs' names */
const TOOLS_BIN = `${TOOLS}/bin`
/** Scripts run by scripts run by scripts: more than any tool has, and an end for those that name each other. */
const DEPTH_MAX = 8
/** Bytes read of a file to tell what it is; launchers are shorter */
const HEAD_BYTES = 16 * 1024

/** Folders of the sandbox where nothing of the host may appear, because they are the sandbox's own. */
const OWN_FOLDERS = [
  "/etc",
  "/home/agent",
  "/workspace",
  "/tmp",
  "/var/tmp",
  "/proc",
  "/dev",
  "/sys",
  "/run",
  "/opt/bottle",
]

/**
 * Finds a program (a name on PATH, or a path) on the host. Throws a BottleError when it is missing or cannot be run.
 */
export function findTool(program: string, env: HostEnv): Tool {
  return new Toolbox(env).tool(program)
}

/** How something placed is started: words in front of its arguments, and the name it must be called by */
interface Command {
  words: string[]
  /** True when the first word must be called by that very path: a link to it would mean something else */
  pinned: boolean
}

class Toolbox {
  readonly #env: HostEnv
  readonly #mounts: Mount[] = []
  readonly #placed = new Map<string, Command>()
  readonly #names = new Map<string, string>()
  #folders = 0

  constructor(env: HostEnv) {
    this.#env = env
  }

  tool(program: string): Tool {
    const found = findProgram(program, this.#env)
    const command = this.#command(found, 0)
    const direct = command.words.length === 1 && isSystemPath(command.words[0]!)
    const path =
      direct && basename(command.words[0]!) === basename(found.path)
        ? command.words[0]!
        : this.#name(basename(found.path), command)
    return { path, mounts: this.#mounts, pathFolders: this.#names.size > 0 ? [TOOLS_BIN] : [] }
  }

  #command(program: Program, depth: number): Command {
    const known = this.#placed.get(program.path)
    if (known !== undefined) return known
    if (depth > DEPTH_MAX) {
      throw new BottleError({
        what: `\`${program.path}\` cannot be taken into a sandbox`,
        why: "it is a script whose interpreter is a script, and so on without an end",
        next: "Give the program itself",
      })
    }
    const command = this.#place(program, depth)
    this.#placed.set(program.path, command)
    return command
  }

  #place(program: Program, depth: number): Command {
    const environment = isPythonName(program.path) ? environmentOf(program.path) : undefined
    if (environment !== undefined && !isSystemPath(environment.folder)) {
      return this.#placeEnvironment(program, environment, depth)
    }
    const head = headOf(program.real)
    if (isElf(head)) return this.#placeBinary(program)
    const text = head.toString("utf8")
    const launched = isSystemPath(program.real) ? undefined : launchedBy(text)
    if (launched !== undefined) return this.#placeLaunched(program, launched, depth)
    return this.#placeScript(program, text, depth)
  }

  #placeScript(program: Program, head: string, depth: number): Command {
    const interpreter = interpreterOf(head)
    const path = this.#placeFile(program, [])
    if (interpreter === undefined) return { words: [path], pinned: false }
    if (interpreter.by === "name") {
      this.#offer(interpreter.name, depth)
      return { words: [path], pinned: false }
    }
    const runner = this.#command(findProgram(interpreter.path, this.#env), depth + 1)
    // Where it is at the path that the script names, the kernel finds it there.
    if (runner.words.length === 1 && runner.words[0] === interpreter.path)
      return { words: [path], pinned: false }
    return { words: [...runner.words, ...interpreter.args, path], pinned: false }
  }

  /** Makes a program available by its name, for scripts that look for it on PATH. */
  #offer(name: string, depth: number): void {
    const found = findProgram(name, this.#env)
    const command = this.#command(found, depth + 1)
    const first = SYSTEM_PATH.map((folder) => join(folder, name)).find((path) => existsSync(path))
    if (command.words.length === 1 && command.words[0] === first) return
    this.#name(name, command)
  }

  /** A launcher names its program relative to itself; the program is taken and the launcher left. */
  #placeLaunched(
    program: Program,
    launched: NonNullable<ReturnType<typeof launchedBy>>,
    depth: number,
  ): Command {
    const path = resolve(dirname(program.real), launched.file)
    if (launched.program === undefined) return this.#command(findProgram(path, this.#env), depth + 1)
    const runner = this.#command(findProgram(launched.program, this.#env), depth + 1)
    const real = realOf(path, program)
    // Launchers of this form are written for packages; whoever wrote this one chose the path, and may have chosen any.
    if (packageFolderOf(path) === undefined || !statSync(real).isFile()) {
      throw new BottleError({
        what: `\`${program.path}\` cannot be taken into a sandbox`,
        why: `it is a launcher, and ${path}, which it starts, is no file of a package`,
        next: "Give the program that it starts, by its own path",
      })
    }
    return { words: [...runner.words, this.#placeFile({ path, real }, [])], pinned: false }
  }

  #placeBinary(program: Program): Command {
    if (isSystemPath(program.real)) return { words: [this.#placeFile(program, [])], pinned: false }
    const library = isPythonName(program.real) ? standardLibraryOf(program.real) : undefined
    const roots = library === undefined ? [] : sharedObjectsIn(join(library, "lib-dynload"))
    const libraries = librariesOf([program.real, ...roots], isSystemPath)
    this.#bindLoader(program)
    for (const one of libraries.filter((each) => !each.relative)) this.#bindInPlace(one)
    const beside = libraries.filter((each) => each.relative)
    if (library !== undefined) beside.push({ path: library, real: realpathSync(library), relative: true })
    return { words: [this.#placeFile(program, beside)], pinned: false }
  }

  /**
   * Makes a file seen inside, together with what must keep its place relative to it, and answers where. `beside` holds
   * libraries and folders.
   */
  #placeFile(program: Program, beside: readonly Library[]): string {
    if (isSystemPath(program.real)) return staysInSystem(program.path) ? program.path : program.real
    const box = this.#folder()
    const pack = packageFolderOf(program.real)
    if (pack !== undefined) {
      this.#bind(pack.folder, join(box, pack.place))
      return join(box, pack.place, relative(pack.folder, program.real))
    }
    const common = commonFolder([program.real, ...beside.map((one) => one.path)])
    for (const one of beside) this.#bind(one.real, join(box, relative(common, one.path)))
    const path = join(box, relative(common, program.real))
    this.#bind(program.real, path)
    return path
  }

  /** A virtual environment is put together anew around its packages: its own files name folders of the host. */
  #placeEnvironment(program: Program, environment: VirtualEnvironment, depth: number): Command {
    const base = this.#command(this.#baseOf(program, environment), depth + 1)
    const python = base.words[0]!
    const box = this.#folder()
    for (const library of environment.libraries) {
      this.#bind(realpathSync(join(environment.folder, library)), join(box, library))
    }
    const content = movedConfiguration(environment.configuration, dirname(python))
    this.#mounts.push({ kind: "file", to: join(box, "pyvenv.cfg"), content, mode: 0o644 })
    for (const name of new Set(["python", "python3", basename(program.path)])) {
      this.#mounts.push({ kind: "symlink", target: python, to: join(box, "bin", name) })
    }
    return { words: [join(box, "bin", basename(program.path))], pinned: true }
  }

  /** The Python behind an environment: what its own leads to, or where it says when that is a copy. */
  #baseOf(program: Program, environment: VirtualEnvironment): Program {
    if (!isBelow(program.real, realpathSync(environment.folder)))
      return { path: program.real, real: program.real }
    const home = homeOf(environment.configuration)
    const names = [basename(program.real), "python3", "python"]
    const path = names.map((name) => join(home, name)).find((one) => existsSync(one))
    return findProgram(path ?? join(home, "python3"), this.#env)
  }

  #bindLoader(program: Program): void {
    const loader = readElf(program.real)?.loader
    if (loader === undefined) return
    const real = existsSync(loader) ? realpathSync(loader) : undefined
    // A program may name any file as its loader; one that is none would come along for nothing.
    if (real === undefined || !statSync(real).isFile() || !isElf(headOf(real))) {
      throw new BottleError({
        what: `\`${program.path}\` cannot be run on this machine`,
        why: `it was built for a system whose loader is ${loader}, and there is none here`,
        next: "Install the build for this system: glibc or musl, as the system has it",
      })
    }
    if (!isSystemPath(loader)) this.#bindInPlace({ path: loader, real, relative: false })
  }

  /** What a program looks for by absolute path is seen at that path, one file at a time. */
  #bindInPlace(file: Library): void {
    if (isSystemPath(file.path) || OWN_FOLDERS.some((folder) => isBelow(file.path, folder))) return
    if (isSystemPath(file.real)) this.#mounts.push({ kind: "symlink", target: file.real, to: file.path })
    else this.#bind(file.real, file.path)
  }

  #bind(from: string, to: string): void {
    if (this.#mounts.some((mount) => mount.to === to)) return
    this.#mounts.push({ kind: "ro-bind", from, to })
  }

  #folder(): string {
    this.#folders += 1
    return `${TOOLS}/${this.#folders}`
  }

  /** Gives a command a name on PATH: a link to it, or a script where a link would not do. */
  #name(name: string, command: Command): string {
    const to = `${TOOLS_BIN}/${name}`
    if (this.#names.has(name)) return to
    this.#names.set(name, to)
    const [first] = command.words
    if (command.words.length === 1 && !command.pinned)
      this.#mounts.push({ kind: "symlink", target: first!, to })
    else this.#mounts.push({ kind: "file", to, content: launcher(command.words), mode: 0o755 })
    return to
  }
}

function launcher(words: readonly string[]): string {
  const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
  return `#!/bin/sh\nexec ${quoted.join(" ")} "$@"\n`
}

function headOf(path: string): Buffer {
  const fd = openSync(path, "r")
  try {
    const head = Buffer.alloc(HEAD_BYTES)
    return head.subarray(0, readSync(fd, head, 0, HEAD_BYTES, 0))
  } finally {
    closeSync(fd)
  }
}

function realOf(path: string, launcher: Program): string {
  try {
    return realpathSync(path)
  } catch (error) {
    throw new BottleError({
      what: `\`${launcher.path}\` cannot be run`,
      why: `it starts ${path}, which is not there`,
      next: `Install \`${basename(launcher.path)}\` again`,
      cause: error,
    })
  }
}

/** The innermost folder that holds all of the paths. */
function commonFolder(paths: readonly string[]): string {
  let folder = dirname(paths[0]!)
  while (!paths.every((path) => isBelow(path, folder))) folder = dirname(folder)
  return folder
}
