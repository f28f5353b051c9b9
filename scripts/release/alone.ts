/**
 * Whether the binary needs nothing of what it was made with: it runs from an empty folder with an empty home, a PATH
 * without Bun and Node.js, and, where root calls, without their files and without these sources.
 */
import { copyFile, mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { BottleError } from "../../src/runtime/error.ts"
import { lastLines, type RunResult, run } from "../../src/runtime/spawn.ts"

/** What it is tried with. */
export const TRIALS = ["demo", "doctor", "start with bubblewrap", "start with docker"] as const
export type Trial = (typeof TRIALS)[number]

const PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].join(delimiter)
const RUNTIMES = ["bun", "bunx", "node", "nodejs", "npm", "npx"]
/** Text that no message of ours holds, so that it comes from the sandbox */
const ANSWER = "said from inside"
/** Variables of the host that a build of images may need */
const KEPT = /^BOTTLE_(BASE_|EXTRA_CA_CERTS$)|^(DOCKER_HOST|https?_proxy|HTTPS?_PROXY)$/

export interface AloneRequest {
  /** The binary, absolute */
  binary: string
  /** The project's folder, absolute */
  project: string
  trials: readonly Trial[]
}

/** Throws a BottleError for the first trial that fails, with the program's own words. */
export async function tryAlone({ binary, project, trials }: AloneRequest): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "bottle-alone-"))
  try {
    const program = join(folder, "bottle")
    await copyFile(binary, program)
    const home = join(folder, "home")
    const kept = Object.entries(process.env).filter(([name, value]) => KEPT.test(name) && value !== undefined)
    const env = { ...(Object.fromEntries(kept) as Record<string, string>), PATH, HOME: home, TERM: "xterm" }
    const away = await withoutTools(project, folder)
    for (const backend of ["bubblewrap", "docker"]) await writeAgent(home, backend)
    for (const trial of trials) {
      const ran = await run([...away, program, ...callOf(trial)], { env, cwd: folder })
      if (passed(trial, ran)) continue
      throw new BottleError({
        what: `the binary alone does not get through: ${trial}`,
        why: `it ended with ${ran.code}\n${lastLines(`${ran.stdout}\n${ran.stderr}`, 20)}`,
        next: "See what it takes from this machine: everything that it needs goes in by scripts/release/compile.ts",
      })
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function callOf(trial: Trial): string[] {
  switch (trial) {
    case "demo":
      return ["demo", "--format", "json"]
    case "doctor":
      return ["doctor", "--format", "json"]
    case "start with bubblewrap":
      return ["start", "on-bubblewrap", "--yes"]
    case "start with docker":
      return ["start", "on-docker", "--yes"]
  }
}

function passed(trial: Trial, { code, stdout }: RunResult): boolean {
  if (code !== 0) return false
  if (trial === "demo") {
    const steps = stdout.trim().split("\n")
    return steps.length > 1 && steps.every((line) => (JSON.parse(line) as { ok?: unknown }).ok === true)
  }
  if (trial === "doctor") return Object.keys(JSON.parse(stdout)).length > 0
  return stdout === `${ANSWER}\n`
}

async function writeAgent(home: string, backend: string): Promise<void> {
  const name = `on-${backend}`
  const command = JSON.stringify(["echo", ANSWER])
  const files = {
    bottles: `---\nagent_provider: { template: command, command: ${command} }\nbackend: ${backend}\n---\n`,
    agents: `---\nbottle: ${name}\n---\n`,
  }
  for (const [kind, text] of Object.entries(files)) {
    await mkdir(join(home, ".bottle", kind), { recursive: true })
    await writeFile(join(home, ".bottle", kind, `${name}.md`), text)
  }
}

/**
 * An argv to put in front. For root: a view of the file system where the sources are an empty folder and the runtimes
 * are no programs. Throws when one of them can be run nevertheless.
 */
async function withoutTools(project: string, folder: string): Promise<string[]> {
  if (process.getuid?.() !== 0) return []
  const files = new Set<string>([await realpath(process.execPath)])
  for (const place of PATH.split(delimiter)) {
    for (const name of RUNTIMES) {
      const path = await realpath(join(place, name)).catch(() => undefined)
      if (path !== undefined) files.add(path)
    }
  }
  const script = `set -e
mount -t tmpfs none "$1"
shift
while [ "$1" != -- ]; do
  mount --bind /dev/null "$1"
  shift
done
shift
exec "$@"`
  const away = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
  const argv = [...away, project, ...files, "--"]
  const probe = `for tool in ${RUNTIMES.join(" ")}; do "$tool" --version && exit 1; done 2>/dev/null; ls -A "$1"`
  const found = await run([...argv, "sh", "-c", probe, "sh", project], { env: { PATH }, cwd: folder })
  if (found.code !== 0 || found.stdout !== "")
    throw new Error(`the sources or their runtime are still there: ${found.stdout}${found.stderr}`)
  return argv
}
