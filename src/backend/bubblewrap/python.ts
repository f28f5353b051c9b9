/** Pythons that are not the system's: virtual environments, and installations that bring their own library. */
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"

export interface VirtualEnvironment {
  /** Absolute path of the folder that holds pyvenv.cfg */
  folder: string
  /** Text of pyvenv.cfg */
  configuration: string
  /** Folders of packages, relative to `folder`: `lib/python3.12` */
  libraries: string[]
}

/** The environment whose `bin` a path lies in; undefined when there is none. Symbolic links are not followed. */
export function environmentOf(path: string): VirtualEnvironment | undefined {
  const folder = dirname(dirname(path))
  let configuration: string
  try {
    configuration = readFileSync(join(folder, "pyvenv.cfg"), "utf8")
  } catch {
    return undefined
  }
  const libraries = ["lib", "lib64"].flatMap((lib) => {
    // lib64 is a link to lib where both are one.
    if (lib === "lib64" && !isRealFolder(join(folder, lib))) return []
    return (
      namesIn(join(folder, lib))
        .filter((name) => /^python\d+\.\d+t?$/.test(name))
        .map((name) => join(lib, name))
        // No tool that makes environments makes a link of it, and a link could lead anywhere.
        .filter((library) => isRealFolder(join(folder, library)))
    )
  })
  return { folder, configuration, libraries }
}

/** pyvenv.cfg for an environment that moved: `home` is the folder of the Python that it is based on. */
export function movedConfiguration(configuration: string, home: string): string {
  const kept = configuration
    .split(/\r?\n/)
    // These two tell the paths of the host, and nothing reads them to run a program.
    .filter((line) => line.trim() !== "" && !/^\s*(home|executable|command)\s*=/i.test(line))
  return [`home = ${home}`, ...kept, ""].join("\n")
}

/** The folder of the Python that an environment is based on, as its configuration has it; empty when it does not say. */
export function homeOf(configuration: string): string {
  return /^\s*home\s*=\s*(.*?)\s*$/im.exec(configuration)?.[1] ?? ""
}

/** Whether a path is called as Python is. */
export function isPythonName(path: string): boolean {
  return /^python(\d+(\.\d+)?t?)?$/.test(basename(path))
}

/**
 * The standard library that comes with a Python, absolute: that of `<prefix>/bin/python3.12` is `<prefix>/lib/python3.12`.
 * The rest of the prefix is left out: its pip.conf may hold passwords.
 */
export function standardLibraryOf(real: string): string | undefined {
  const version = /^python(\d+\.\d+t?)$/.exec(basename(real))?.[1]
  const lib = join(dirname(dirname(real)), "lib")
  const names =
    version === undefined
      ? namesIn(lib).filter((name) => /^python\d+\.\d+t?$/.test(name))
      : [`python${version}`]
  return names.map((name) => join(lib, name)).find((folder) => existsSync(join(folder, "os.py")))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function isRealFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}
