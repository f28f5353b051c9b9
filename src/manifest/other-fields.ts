/** Rules for the values of manifests outside of routes. */
import { CONTRACT_NAMES } from "../bottle/contract.ts"
import { AGENT_HOME } from "../policy/paths.ts"
import { says, type Verdict } from "./saying.ts"
import { splitWords, wordList } from "./words.ts"

/** Characters of a name: identities are made of it, and the longest socket path is 108 bytes (unix(7)) */
export const NAME_MAX = 40
const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/

/** The name of a bottle, an agent or a skill. */
export function nameVerdict(name: string): Verdict {
  if (name.length > NAME_MAX) return says(`a name has at most ${NAME_MAX} characters`)
  if (NAME.test(name)) return undefined
  const kebab = kebabCase(name)
  return says(
    `${JSON.stringify(name)} is not a name: small letters, digits and single dashes, a letter first`,
    kebab === "" ? "" : `Write: ${kebab}`,
  )
}

/** The nearest name that `nameVerdict` passes; empty when there is none. */
export function kebabCase(text: string): string {
  return text
    .replace(/([a-z0-9])([A-Z])/g, "$1-$2")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, NAME_MAX)
    .replace(/-+$/, "")
}

/** A variable of the agent's environment. */
export function envNameVerdict(name: string): Verdict {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) {
    return says("not the name of a variable: letters, digits and _, no digit first")
  }
  if (CONTRACT_NAMES.has(name)) {
    return says(`${name} is set by bottle itself: the way out of the sandbox depends on it`, "Remove it")
  }
  return undefined
}

/** The name of a variable on the host. */
export function hostVariableVerdict(name: string): Verdict {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return undefined
  const bare = /^\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?$/.exec(name)?.[1]
  if (bare !== undefined) return says("the name stands here without $", `Write: env: ${bare}`)
  // A credential pasted where its variable's name belongs must not be shown in full.
  return says("not the name of a variable; the credential itself never stands in a manifest")
}

const SSH_URL = "ssh://git@host/path.git"

/** Where a repository lives. */
export function repoUrlVerdict(text: string): Verdict {
  const scp = /^(?:([\w.-]+)@)?([\w.-]+):(?!\/\/)(.+)$/.exec(text)
  if (scp !== null) {
    return says(
      "a repository is named by an ssh:// URL",
      `Write: url: ssh://${scp[1] ?? "git"}@${scp[2]}/${scp[3]!.replace(/^\//, "")}`,
    )
  }
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) return says("not a URL", `Write it as: url: ${SSH_URL}`)
  if (url.protocol !== "ssh:") {
    const path = url.pathname.replace(/^\/+/, "")
    return says(
      `${url.protocol}// is not served: pushes leave over SSH, with a key the agent never sees`,
      url.hostname === "" ? `Write it as: url: ${SSH_URL}` : `Write: url: ssh://git@${url.hostname}/${path}`,
    )
  }
  if (url.password !== "") return says("a password must not stand in a manifest", "Use identity_file")
  if (url.hostname === "" || url.pathname.length < 2 || url.search !== "" || url.hash !== "") {
    return says(
      "the URL needs a host and the repository's path, nothing else",
      `Write it as: url: ${SSH_URL}`,
    )
  }
  // ssh(1) and git take a leading dash for an option (CVE-2017-1000117).
  if (/^-|%/.test(url.hostname) || url.username.startsWith("-")) return says("not a host that ssh can reach")
  return undefined
}

/** The pinned key of an SSH server. */
export function hostKeyVerdict(key: string): Verdict {
  const form =
    /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-[\w@.-]+) [A-Za-z0-9+/]+={0,2}(?: .*)?$/
  if (form.test(key)) return undefined
  return says(
    "not a host key: its type, a space, its base64 text",
    "Take the line without its host from: ssh-keyscan <host>\nand compare it with what the service publishes",
  )
}

/** A pattern of refs that may be pushed. */
export function refVerdict(ref: string): Verdict {
  if (!/^refs\/(heads|tags)\/./.test(ref)) {
    const fix = ref.startsWith("refs/") ? "" : `Write: refs/heads/${ref.replace(/^\/+/, "")}`
    return says("only branches and tags can be pushed: refs/heads/... or refs/tags/...", fix)
  }
  // What git-check-ref-format(1) refuses, with one star allowed as in a refspec.
  const bad = /[\u0000- \u007f~^:?[\\]|\.\.|@\{|\/\/|\/\.|\.lock(\/|$)|[/.]$/.test(ref)
  if (bad) return says(`${JSON.stringify(ref)} cannot be the name of a ref`)
  if (ref.split("*").length > 2) return says("a pattern has at most one star")
  return undefined
}

const UNITS: Record<string, number> = { "": 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 }
/** Memory that the agents' runtimes need to start at all, in MiB */
const MEMORY_MIN_MIB = 128

/** A limit of memory as Docker writes it. */
export function memoryVerdict(text: string): Verdict {
  const parts = /^(\d{1,15})([bkmg]?)$/.exec(text.toLowerCase())
  if (parts === null)
    return says(`${JSON.stringify(text)} is not an amount of memory`, "Write it as: memory: 4g")
  const bytes = Number(parts[1]) * UNITS[parts[2]!]!
  if (bytes < MEMORY_MIN_MIB * 2 ** 20) {
    return says(`${text} is less than an agent needs to start`, `Give at least ${MEMORY_MIN_MIB}m`)
  }
  return undefined
}

/** What stands in a command where the text of `--prompt` belongs */
export const TASK_WORD = "{prompt}"

/** The words of `agent_provider.command`; none at all clears what was inherited. */
export function commandVerdict(words: readonly string[]): Verdict {
  const [program] = words
  if (program === undefined) return undefined
  if (words.some((word) => word.includes("\0"))) return says("no argument of a program can hold a NUL byte")
  if (program.trim() === "") {
    return says("the first word names the program, and is empty", "Write it as: command: [program, argument]")
  }
  if (program.includes(TASK_WORD)) {
    return says("the first word names the program, which cannot be the task", `Put ${TASK_WORD} after it`)
  }
  // No shell reads the words, so that none of its shorthands has a meaning.
  if (program.startsWith("~/")) {
    const path = `${AGENT_HOME}${program.slice(1)}`
    return says("nothing expands ~ here", `Write: command: ${wordList([path, ...words.slice(1)])}`)
  }
  if (/\s/.test(program) && !program.includes("/")) {
    const split = splitWords(program) ?? program.trim().split(/\s+/)
    return says(
      `${JSON.stringify(program)} is not the name of a program: each word stands for itself`,
      `Write: command: ${wordList([...split, ...words.slice(1)])}`,
    )
  }
  return undefined
}
