/** Which program runs a script, by its first lines, and what a launcher script hands over to. */
import { isAbsolute } from "node:path"

export type Interpreter =
  /** An absolute path, and the one argument that execve(2) makes of the rest of the line */
  | { by: "path"; path: string; args: string[] }
  /** A name that env(1) looks for on PATH */
  | { by: "name"; name: string }

/** The interpreter of a script; undefined when the text does not begin with `#!`. */
export function interpreterOf(text: string): Interpreter | undefined {
  if (!text.startsWith("#!")) return undefined
  const lines = text.split("\n", 2)
  const line = lines[0]!.slice(2).trim()
  const space = line.search(/[ \t]/)
  const path = space < 0 ? line : line.slice(0, space)
  const rest = space < 0 ? "" : line.slice(space).trim()
  if (!isAbsolute(path)) return undefined
  if (path === "/bin/sh") {
    const python = longPathInterpreter(lines[1] ?? "")
    if (python !== undefined) return { by: "path", path: python, args: [] }
  }
  if (/\/env$/.test(path)) {
    const name = nameOfEnv(rest.split(/[ \t]+/))
    if (name !== undefined)
      return isAbsolute(name) ? { by: "path", path: name, args: [] } : { by: "name", name }
  }
  return { by: "path", path, args: rest === "" ? [] : [rest] }
}

/** pip and uv write a path that is too long for `#!`, or has a space, into a line that is both shell and Python. */
function longPathInterpreter(line: string): string | undefined {
  const match = /^'''exec' (?:'([^']+)'|"([^"]+)"|(\/\S+)) "\$0" "\$@"/.exec(line)
  return match?.[1] ?? match?.[2] ?? match?.[3]
}

/** The program among the arguments of env(1). */
function nameOfEnv(words: readonly string[]): string | undefined {
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!
    if (word === "-u" || word === "-C" || word === "--unset" || word === "--chdir") index += 1
    else if (/^-S./.test(word)) return word.slice(2)
    else if (/^--split-string=./.test(word)) return word.slice("--split-string=".length)
    else if (word !== "" && !word.startsWith("-") && !word.includes("=")) return word
  }
  return undefined
}

/**
 * What a launcher of pnpm and of npm's cmd-shim runs: a file relative to the launcher's folder, by a named program or
 * by itself. undefined when the script is not such a launcher.
 */
export function launchedBy(text: string): { program: string | undefined; file: string } | undefined {
  if (!/^basedir=\$\(dirname /m.test(text)) return undefined
  const found = [...text.matchAll(/^\s*exec +(?:([\w.-]+) +)?"\$basedir\/([^"\n]+)" +"\$@"/gm)]
  const match = found.find((one) => one[1] !== undefined) ?? found[0]
  return match === undefined ? undefined : { program: match[1], file: match[2]! }
}
