/** Provider `command`: any program of the user's in a bottle, on the image that comes with it or on their own. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { homeDigest, LABEL_HOME } from "../../src/backend/docker/names.ts"
import { run } from "../../src/runtime/spawn.ts"
import { onTerminal } from "../fixtures/terminal.ts"
import { createWorld, type World } from "./world.ts"

// The first start may have to build the image.
setDefaultTimeout(600_000)

let world: World
beforeAll(async () => {
  world = await createWorld()
  // A command needs nothing of Claude Code's: not its credential either.
  delete world.env.CLAUDE_CODE_OAUTH_TOKEN
  world.agentFile("shell", "bottle: shell")
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})
/** A bottle `shell` that runs these words, with more of its frontmatter. */
function runs(words: string[], more = ""): void {
  world.bottleFile(
    "shell",
    `agent_provider: { template: command, command: ${JSON.stringify(words)} }\n${more}`,
  )
}

const start = (...args: string[]) => world.bottle("start", "shell", "--yes", ...args)

test("a command runs without a terminal: its output alone on stdout, its exit status ours", async () => {
  runs(["bash", "-c", "printf 'a\\0b'; echo aside >&2; [ -t 1 ] || printf ' no terminal'; exit 7"])
  const result = await start()
  expect(result.code).toBe(7)
  expect(result.stdout).toBe("a\0b no terminal")
  expect(result.stderr).toContain("aside")
  expect(result.stderr).toMatch(/agent +shell command bash\n/)
  expect(result.stderr).toMatch(/reaches +nothing\n/)
})

test("arguments behind -- come after the bottle's words, as they are", async () => {
  runs(["bash", "-c", "printf '<%s>' \"$@\"", "sh"])
  const result = await start("--", "--flag", "a b", "{prompt}", "$HOME", "")
  expect(result).toMatchObject({ code: 0, stdout: "<--flag><a b><{prompt}><$HOME><>" })
  runs(["bash"])
  expect(await start("--", "-c", "echo one-shot; exit 3")).toMatchObject({ code: 3, stdout: "one-shot\n" })
})

test("the text of --prompt stands where {prompt} does, and is refused where it has no place", async () => {
  const task = "-x \"q\" 'q' $HOME $& `date`\nsecond line"
  runs(["bash", "-c", 'printf "%s|" "$@"', "sh", "--message={prompt}", "{prompt}"])
  expect(await start("--prompt", task)).toMatchObject({ code: 0, stdout: `--message=${task}|${task}|` })
  const without = await start()
  expect(without).toMatchObject({ code: 2, stdout: "" })
  expect(without.stderr).toContain("The bottle's command needs a task")
  runs(["bash"])
  const nowhere = await start("--prompt", "x")
  expect(nowhere).toMatchObject({ code: 2, stdout: "" })
  expect(nowhere.stderr).toContain("does not say where the text of --prompt belongs")
})

test("the environment is the contract's, with no credential; prompt and skills lie where they are told", async () => {
  const user = join(world.home, "..", "user")
  const skill = join(user, ".claude", "skills", "tides")
  mkdirSync(skill, { recursive: true })
  writeFileSync(join(skill, "SKILL.md"), "when the tide turns\n")
  world.agentFile("skilled", "bottle: shell\nskills: [tides]", "You are careful.")
  runs(["bash", "-c", 'env -0; cat "$BOTTLE_PROMPT_FILE" ~/.config/bottle/skills/tides/SKILL.md'])
  const argv = [...world.command, "start", "skilled", "--yes"]
  const docker = process.env.DOCKER_CONFIG ?? join(process.env.HOME ?? "/root", ".docker")
  const env = { ...world.env, HOME: user, DOCKER_CONFIG: docker }
  const result = await run(argv, { cwd: world.cwd, env })
  expect(result).toMatchObject({ code: 0 })
  const parts = result.stdout.split("\0")
  expect(parts.pop()).toBe("You are careful.\nwhen the tide turns\n")
  const seen = Object.fromEntries(parts.map((line) => [line.slice(0, line.indexOf("=")), line]))
  expect(seen).toMatchObject({
    HTTPS_PROXY: "HTTPS_PROXY=http://127.0.0.1:9099",
    HOME: "HOME=/home/agent",
    USER: "USER=agent",
    PWD: "PWD=/workspace",
    TERM: "TERM=dumb",
    BOTTLE_PROMPT_FILE: "BOTTLE_PROMPT_FILE=/home/agent/.config/bottle/prompt.md",
  })
  expect(Object.keys(seen).filter((name) => /ANTHROPIC|CLAUDE|TOKEN|KEY/.test(name))).toEqual([])
  // The control: an agent without a prompt has no such file and no such variable.
  runs(["bash", "-c", 'echo "<$BOTTLE_PROMPT_FILE>"; ls -A ~/.config 2>&1'])
  const bare = await start()
  expect(bare.stdout).toStartWith("<>\n")
  expect(bare.stdout).not.toContain("bottle\n")
})

test("its image has what is typed at a shell, and nothing of Claude Code", async () => {
  const tools = ["bash", "curl", "git", "less", "ps", "rg", "unzip"]
  runs([
    "bash",
    "-c",
    `for t in ${tools.join(" ")} claude ssh; do command -v $t >/dev/null && echo $t; done; git init -q .`,
  ])
  const result = await start()
  expect(result).toMatchObject({ code: 0, stdout: `${tools.join("\n")}\n` })
})

test("curl reaches a host that a route names, with a credential it never sees, and no other", async () => {
  const { hostAddress } = world
  const route = `egress:
  routes:
    - host: api.anthropic.com
      private: ["${hostAddress}/32"]
      methods: [GET]
      auth: { scheme: "header:x-api-key", token: { env: OWN_TOKEN } }`
  runs(
    [
      "bash",
      "-c",
      'curl -s -o /dev/null -w "%{http_code} " https://api.anthropic.com/own; curl -s https://other.example/; env',
    ],
    route,
  )
  const token = ["own", "token", "0123456789abcdef"].join("-")
  const env = { ...world.env, OWN_TOKEN: token }
  const result = await run([...world.command, "start", "shell", "--yes"], { cwd: world.cwd, env })
  expect(result.code).toBe(0)
  expect(result.stdout).not.toStartWith("403 ")
  expect(result.stdout).toContain('"rule":"host-not-allowed"')
  expect(result.stdout).not.toContain(token)
  const asked = world.api.requests.find(({ path }) => path === "/own")
  expect(asked?.headers["x-api-key"]).toBe(token)
})

test("on a terminal it has that terminal, and its own prompt is left alone", async () => {
  runs(["bash", "--norc"])
  await using screen = onTerminal([...world.command, "start", "shell", "--yes"], {
    cwd: world.cwd,
    env: { ...world.env, TERM: "xterm-256color" },
  })
  await screen.sees("bash-5")
  screen.type('echo "ps1=$PS1 term=$TERM size=$(stty size)"\n')
  await screen.sees("ps1=\\s-\\v\\$ term=xterm-256color size=40 120")
  screen.type("exit 5\n")
  expect(await screen.exited).toBe(5)
})

test("a resume runs the same command again, in the same workspace", async () => {
  runs(["bash", "-c", "echo run >>log; cat log"])
  const first = await start()
  expect(first).toMatchObject({ code: 0, stdout: "run\n" })
  const identity = /bottle resume (\S+)\n/.exec(first.stderr)?.[1] ?? ""
  const metadata = JSON.parse(readFileSync(join(world.home, "state", identity, "metadata.json"), "utf8"))
  expect(metadata.provider).toEqual({ name: "command", version: "" })
  expect(await world.bottle("resume", identity, "--yes")).toMatchObject({ code: 0, stdout: "run\nrun\n" })
})

test("a detached one runs on, and its rules can be loaded again although it takes a task", async () => {
  runs(["sleep", "infinity"])
  const identity = await world.ok("start", "shell", "--yes", "--detach")
  expect(await world.ok("list", "active")).toBe(`docker\t${identity}\tshell\tagent,egress`)
  runs(["sleep", "{prompt}"])
  expect((await world.bottle("reload", identity)).code).toBe(0)
  expect((await world.bottle("stop", identity)).code).toBe(0)
})

test("a Dockerfile of the user's may stand on the command's image", async () => {
  const folder = join(world.home, "..", "image")
  mkdirSync(folder, { recursive: true })
  const lines = ["ARG BOTTLE_AGENT", "FROM $BOTTLE_AGENT", "RUN printf 'mine\\n' >/mine", ""]
  writeFileSync(join(folder, "Dockerfile"), lines.join("\n"))
  world.bottleFile(
    "shell",
    `agent_provider: { template: command, command: [cat, /mine], dockerfile: ${join(folder, "Dockerfile")} }`,
  )
  expect(await start()).toMatchObject({ code: 0, stdout: "mine\n" })
})

test("a program that the image does not have ends with its name and what to do, and leaves nothing", async () => {
  runs(["no-such-program"])
  const result = await start()
  expect(result.code).toBe(1)
  expect(result.stderr).toContain("no-such-program")
  expect(result.stderr).toContain("agent_provider.dockerfile")
  const label = `label=${LABEL_HOME}=${homeDigest(world.home)}`
  expect(await world.docker("ps", "--all", "--quiet", "--filter", label)).toBe("")
})
