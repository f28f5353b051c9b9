import { expect, setDefaultTimeout, test } from "bun:test"
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { ManifestHome, manifest } from "../fixtures/manifest-home.ts"
import { onTerminal, type TerminalProgram } from "../fixtures/terminal.ts"

// Each test starts a program or several, which takes its time on a busy machine.
setDefaultTimeout(60_000)

const MAIN = join(import.meta.dir, "../../src/main.ts")
const BOTTLE = [process.execPath, "--no-env-file", MAIN]

/** An environment that has nothing of whoever runs the tests but the way to the programs. */
function envOf(home: ManifestHome, more: Record<string, string> = {}): Record<string, string> {
  return { PATH: process.env.PATH ?? "", HOME: home.user, TERM: "xterm", ...more }
}

/** Runs a verb without a terminal. */
async function bottle(home: ManifestHome, args: string[], env: Record<string, string> = {}) {
  const child = Bun.spawn([...BOTTLE, ...args], {
    cwd: home.repo,
    env: envOf(home, env),
    stdout: "pipe",
    stderr: "pipe",
  })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { stdout, stderr, code }
}

/** Starts a verb on a terminal of 80 columns; `endsWith` waits for its end. */
function onScreen(home: ManifestHome, args: string[], env: Record<string, string> = {}) {
  // The status is told after a line of input, so that nothing is written that a test is not waiting for yet.
  const script = 'stty cols 80; "$@"; status=$?; read -r line; echo "status=$status"'
  return onTerminal(["sh", "-c", script, "sh", ...BOTTLE, ...args], { cwd: home.repo, env: envOf(home, env) })
}

/** Waits for the end of the program and its exit status. */
async function endsWith(screen: TerminalProgram, status: number): Promise<void> {
  screen.type("\n")
  await screen.sees(`status=${status}`)
}

const DEV = {
  "bottles/dev.md": manifest("repo_agents: true"),
  "agents/reviewer.md": manifest("bottle: dev", "You review."),
}

test("init from flags writes an agent and its bottle for the user's eyes alone, and says what is next", async () => {
  using home = new ManifestHome()
  const made = await bottle(home, [
    "init",
    "--name",
    "reviewer",
    "--token-env",
    "MY_TOKEN",
    "--prompt",
    "You review.",
    "--yes",
  ])
  expect(made).toMatchObject({ code: 0, stdout: "" })
  expect(made.stderr).toContain("export MY_TOKEN=...")
  expect(made.stderr).toContain("bottle start reviewer")
  for (const [path, mode] of [
    ["", 0o700],
    ["bottles", 0o700],
    ["agents", 0o700],
    ["bottles/claude.md", 0o600],
    ["agents/reviewer.md", 0o600],
  ] as const) {
    expect(statSync(home.path(path)).mode & 0o777).toBe(mode)
  }
  const info = JSON.parse((await bottle(home, ["info", "reviewer", "--format", "json"])).stdout)
  expect(info.bottle.routes).toMatchObject([
    { host: "api.anthropic.com", credential: { scheme: "bearer", from: "$MY_TOKEN" } },
  ])
  expect(info.not_served).toBeNull()
})

test("init keeps a bottle and an agent that are there, unless it is told to replace the agent", async () => {
  using home = new ManifestHome(DEV)
  const again = await bottle(home, ["init", "--name", "reviewer", "--bottle", "dev", "--yes"])
  expect(again.code).toBe(1)
  expect(again.stderr).toContain('The agent "reviewer" is there already; nothing was changed')
  expect(readFileSync(home.path("agents/reviewer.md"), "utf8")).toContain("You review.")
  const replaced = await bottle(home, [
    "init",
    "--name",
    "reviewer",
    "--bottle",
    "dev",
    "--prompt",
    "New.",
    "--yes",
    "--replace",
  ])
  expect(replaced.code).toBe(0)
  expect(replaced.stderr).toContain("kept")
  expect(readFileSync(home.path("agents/reviewer.md"), "utf8")).toContain("New.")
  expect(readFileSync(home.path("bottles/dev.md"), "utf8")).toBe(DEV["bottles/dev.md"])
})

test("init refuses a name that is none and a skill that is not there, and writes nothing", async () => {
  using home = new ManifestHome()
  const name = await bottle(home, ["init", "--name", "My Agent", "--yes"])
  expect(name.code).toBe(2)
  expect(name.stderr).toContain("Write: my-agent")
  const skill = await bottle(home, ["init", "--skills", "absent", "--yes"])
  expect(skill.code).toBe(1)
  expect(skill.stderr).toContain("Not every skill of the agent is there: absent")
  expect(statSync(home.home, { throwIfNoEntry: false })).toBeUndefined()
})

test("init without a terminal and without --yes says which call works", async () => {
  using home = new ManifestHome()
  const { code, stderr } = await bottle(home, ["init"])
  expect(code).toBe(2)
  expect(stderr).toContain("bottle init --name NAME --yes")
})

test("init asks on a terminal, once more where the answer cannot be", async () => {
  using home = new ManifestHome({ "user/.claude/skills/tidy-up/SKILL.md": "x" })
  await using screen = onScreen(home, ["init"])
  await screen.sees("Name of the agent [claude]")
  screen.type("Bad Name\r")
  await screen.sees("is not a name")
  screen.type("reviewer\r")
  await screen.sees("Bottle it runs in [claude]")
  screen.type("\r")
  await screen.sees("What runs in it (claude, command) [claude]")
  screen.type("\r")
  await screen.sees("holds the Claude token [CLAUDE_CODE_OAUTH_TOKEN]")
  screen.type("\r")
  await screen.sees("(tidy-up)")
  screen.type("tidy-up\r")
  await screen.sees("System prompt")
  screen.type("You revieew\u007f\u007fw.\r")
  await endsWith(screen, 0)
  expect(readFileSync(home.path("agents/reviewer.md"), "utf8")).toBe(
    "---\nbottle: claude\nskills:\n  - tidy-up\n---\nYou review.\n",
  )
})

test("init makes a bottle for a command, from flags with names after its program, and without a credential", async () => {
  using home = new ManifestHome()
  const made = await bottle(home, ["init", "--command", "/opt/My.Tool/run 'a b' {prompt}", "--yes"])
  expect(made).toMatchObject({ code: 0, stdout: "" })
  expect(made.stderr).not.toContain("export")
  expect(made.stderr).toContain("bottle start run")
  const shown = JSON.parse((await bottle(home, ["info", "run", "--format", "json"])).stdout)
  expect(shown.bottle).toMatchObject({
    name: "run",
    provider: "command",
    command: ["/opt/My.Tool/run", "a b", "{prompt}"],
    routes: [],
  })
  expect(shown.not_served).toBeNull()
  const text = (await bottle(home, ["info", "run"])).stdout
  expect(text).toMatch(/^provider +command {2}\[\/opt\/My\.Tool\/run, "a b", "\{prompt\}"\]$/m)
  expect(text).toMatch(/^reaches +nothing$/m)
})

test("init asks for the command where one is to run, once more where it is none", async () => {
  using home = new ManifestHome()
  await using screen = onScreen(home, ["init"])
  await screen.sees("Name of the agent [claude]")
  screen.type("shell\r")
  await screen.sees("Bottle it runs in [claude]")
  screen.type("shell\r")
  await screen.sees("What runs in it (claude, command) [claude]")
  screen.type("comand\r")
  await screen.sees('did you mean "command"?')
  screen.type("command\r")
  await screen.sees("Command, as you would type it [bash]")
  screen.type("bash 'x\r")
  await screen.sees("a quote stays open")
  screen.type("bash -l\r")
  await screen.sees("Skills")
  screen.type("\r")
  await screen.sees("System prompt")
  screen.type("\r")
  await endsWith(screen, 0)
  expect(readFileSync(home.path("bottles/shell.md"), "utf8")).toContain(
    "agent_provider: { template: command, command: [bash, -l] }",
  )
})

test("init refuses flags for what does not run, and for a bottle that is there", async () => {
  using home = new ManifestHome(DEV)
  for (const [args, said] of [
    [["--template", "claude", "--command", "bash"], "--command is for --template command"],
    [["--command", "bash", "--token-env", "X"], "--token-env is the Claude token"],
    [["--template", "codexx"], "is not what can run"],
    [["--command", ""], "the command is empty"],
    [["--bottle", "dev", "--command", "bash"], "is there already, so --command would have no effect"],
  ] as const) {
    const { code, stderr } = await bottle(home, ["init", "--name", "new", ...args, "--yes"])
    expect({ args, code }).toEqual({ args, code: 2 })
    expect(stderr).toContain(said)
  }
  expect(readdirSync(home.path("agents"))).toEqual(["reviewer.md"])
})

test("Ctrl-C at a question of init ends with status 130 and leaves nothing", async () => {
  using home = new ManifestHome()
  await using screen = onScreen(home, ["init"])
  await screen.sees("Name of the agent")
  screen.type("\u0003")
  await endsWith(screen, 130)
  expect(statSync(home.home, { throwIfNoEntry: false })).toBeUndefined()
})

test("info shows names and places, never values", async () => {
  using home = new ManifestHome({
    "bottles/base.md": manifest(`env: { CI: "literal-value", URL: "\${HOST_URL}", PASSWORD: "?Password" }`),
    "bottles/dev.md": manifest(
      "extends: base\negress:\n  routes:\n    - { host: api.example.com, paths: [/v1/], methods: [GET], auth: { scheme: bearer, token: { command: [vault, read, path] } } }",
    ),
    "agents/reviewer.md": manifest("bottle: dev\nskills: [absent]", "You \u001b[31mreview.\nSecond line."),
  })
  const { stdout, stderr, code } = await bottle(home, ["info", "reviewer"], { HOST_URL: "host-value" })
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  for (const text of [
    "extends base",
    "CI        written in the bottle",
    "URL       from $HOST_URL",
    "PASSWORD  asked at start",
    "api.example.com  bearer the command `vault`  GET; /v1/",
    "absent  not found",
    "You ?[31mreview.",
  ]) {
    expect(stdout).toContain(text)
  }
  for (const value of ["literal-value", "host-value", "read", "\u001b"]) expect(stdout).not.toContain(value)
})

test("info of a broken agent is one clear message with status 1", async () => {
  using home = new ManifestHome({ "agents/a.md": manifest("bottle: dve"), "bottles/dev.md": "---\n---\n" })
  const { stdout, stderr, code } = await bottle(home, ["info", "a"])
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
  expect(stderr).toContain('line 2, bottle: there is no bottle named "dve"; did you mean "dev"?')
})

test("on a terminal info is coloured and within 80 columns; NO_COLOR takes the colours away", async () => {
  using home = new ManifestHome({
    "bottles/dev.md": manifest(
      `egress: { routes: [{ host: a.example, paths: [${Array.from({ length: 20 }, (_, n) => `/long/path/${n}/`).join(", ")}] }] }`,
    ),
    "agents/reviewer.md": manifest("bottle: dev", "word ".repeat(100)),
  })
  const shown = async (env: Record<string, string>) => {
    const chunks: string[] = []
    const decoder = new TextDecoder()
    const child = Bun.spawn([...BOTTLE, "info", "reviewer"], {
      cwd: home.repo,
      env: envOf(home, env),
      terminal: { cols: 80, rows: 24, data: (_, data) => chunks.push(decoder.decode(data)) },
    })
    await child.exited
    child.terminal?.close()
    return chunks.join("")
  }
  const plain = await shown({ NO_COLOR: "1" })
  const coloured = await shown({})
  expect(plain).not.toContain("\u001b")
  expect(coloured).toContain("\u001b[36ma.example")
  expect(coloured.replace(/\u001b\[\d+m/g, "")).toBe(plain)
  for (const line of plain.split("\r\n")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(80)
})

test("edit without a terminal names the file", async () => {
  using home = new ManifestHome(DEV)
  const { code, stderr } = await bottle(home, ["edit", "reviewer"])
  expect(code).toBe(2)
  expect(stderr).toContain(`Change the file itself: ${home.path("agents/reviewer.md")}`)
})

test("list available is tab-separated in a pipe, and a broken agent is there with its fault on stderr", async () => {
  using home = new ManifestHome({
    ...DEV,
    "agents/broken.md": manifest("bottle: dve"),
    "repo/.bottle/agents/shipped.md": manifest("bottle: dev"),
    "repo/.bottle/bottles/evil.md": manifest("repo_agents: true"),
  })
  const text = await bottle(home, ["list", "available"])
  expect(text.code).toBe(0)
  expect(text.stdout).toBe("broken\t-\thome\tbroken\nreviewer\tdev\thome\tok\nshipped\tdev\trepo\tok\n")
  expect(text.stderr).toContain('did you mean "dev"?')
  expect(text.stderr).toContain(`${home.path("repo/.bottle/bottles")} is ignored`)
  const data = JSON.parse((await bottle(home, ["list", "available", "--format", "json"])).stdout)
  expect(data.map((agent: { name: string; error: unknown }) => [agent.name, agent.error === null])).toEqual([
    ["broken", false],
    ["reviewer", true],
    ["shipped", true],
  ])
})

test("without a name the only agent is taken; of several a terminal picks, a pipe gets the list and status 2", async () => {
  using home = new ManifestHome(DEV)
  expect((await bottle(home, ["info"])).stdout).toContain("reviewer")
  home.write("agents/planner.md", manifest("bottle: dev\ndescription: Plans the work", "You plan."))
  home.write("agents/broken.md", manifest("bottle: dve"))
  const piped = await bottle(home, ["start"])
  expect(piped).toMatchObject({ code: 2, stdout: "" })
  expect(piped.stderr).toMatch(/planner\n +reviewer/)
  await using screen = onScreen(home, ["info"])
  await screen.sees("Number or name:")
  screen.type("9\r")
  await screen.sees('There is no "9" in the list')
  screen.type("1\r")
  await screen.sees("You plan.")
  await endsWith(screen, 0)
})

test("start in a pipe is refused for Claude Code without a task, before any backend is asked", async () => {
  using home = new ManifestHome(DEV)
  const env = { PATH: "/nonexistent" }
  const refused = await bottle(home, ["start", "reviewer", "--yes"], env)
  expect(refused).toMatchObject({ code: 2, stdout: "" })
  expect(refused.stderr).toContain("An interactive agent needs a terminal")
  // The control: a command gets as far as the backend, which is not there.
  home.write("bottles/dev.md", manifest("agent_provider: { template: command, command: [bash] }"))
  const command = await bottle(home, ["start", "reviewer", "--yes"], env)
  expect(command.code).toBe(1)
  expect(command.stderr).toContain("backend can be used here")
})

/** An editor that puts the next of these texts into the file each time it is called. */
function editor(home: ManifestHome, texts: string[]): string {
  for (const [index, text] of texts.entries()) home.write(`user/edit text/${index}`, text)
  const script = `n=$(cat "$HOME/count" 2>/dev/null || echo 0)
echo $((n + 1)) > "$HOME/count"
stat -c %a "$1" > "$HOME/mode"
cp "$HOME/edit text/$n" "$1"`
  return `'${home.write("user/edit text/editor", `#!/bin/sh\n${script}\n`, 0o700)}'`
}

test("edit saves what is sound, through an editor whose path has a space, and keeps the mode", async () => {
  using home = new ManifestHome(DEV)
  const next = manifest("bottle: dev", "New prompt.")
  await using screen = onScreen(home, ["edit", "reviewer"], { EDITOR: editor(home, [next]) })
  await endsWith(screen, 0)
  expect(readFileSync(home.path("agents/reviewer.md"), "utf8")).toBe(next)
  expect(statSync(home.path("agents/reviewer.md")).mode & 0o777).toBe(0o600)
  expect(readFileSync(home.path("user/mode"), "utf8")).toBe("600\n")
})

test("edit offers to mend what is broken, and saves once it is sound", async () => {
  using home = new ManifestHome(DEV)
  const sound = manifest("bottle: dev", "Mended.")
  const texts = [manifest("bottel: dev"), sound]
  await using screen = onScreen(home, ["edit", "reviewer"], { VISUAL: editor(home, texts) })
  await screen.sees("(e)dit again, (s)ave it as it is, (d)iscard the changes?")
  expect(readFileSync(home.path("agents/reviewer.md"), "utf8")).toBe(DEV["agents/reviewer.md"])
  screen.type("\r")
  await endsWith(screen, 0)
  expect(readFileSync(home.path("agents/reviewer.md"), "utf8")).toBe(sound)
})

test("edit discards on request, and leaves the file as it was", async () => {
  using home = new ManifestHome(DEV)
  await using screen = onScreen(home, ["edit", "--bottle", "dev"], {
    EDITOR: editor(home, [manifest("backend: x")]),
  })
  await screen.sees("(d)iscard the changes?")
  screen.type("d\r")
  await endsWith(screen, 0)
  expect(readFileSync(home.path("bottles/dev.md"), "utf8")).toBe(DEV["bottles/dev.md"])
})

test("edit does not overwrite a change that was made meanwhile, and keeps the text", async () => {
  using home = new ManifestHome(DEV)
  const env = { EDITOR: editor(home, [manifest("bottel: dev", "Mine.")]), TMPDIR: home.user }
  await using screen = onScreen(home, ["edit", "reviewer"], env)
  await screen.sees("(d)iscard the changes?")
  writeFileSync(home.path("agents/reviewer.md"), manifest("bottle: dev", "Theirs."))
  screen.type("s\r")
  await endsWith(screen, 1)
  expect(readFileSync(home.path("agents/reviewer.md"), "utf8")).toContain("Theirs.")
})

test("Ctrl-C after an edit leaves the file alone and keeps what was written", async () => {
  using home = new ManifestHome(DEV)
  const env = { EDITOR: editor(home, [manifest("bottel: dev", "Mine.")]), TMPDIR: home.user }
  await using screen = onScreen(home, ["edit", "reviewer"], env)
  await screen.sees("(d)iscard the changes?")
  screen.type("\u0003")
  await endsWith(screen, 130)
  const kept = readdirSync(home.user).filter((name) => name.startsWith("bottle-edit-"))
  expect(kept).toHaveLength(1)
  expect(readFileSync(join(home.user, kept[0]!, "reviewer.md"), "utf8")).toContain("Mine.")
  expect(readFileSync(home.path("agents/reviewer.md"), "utf8")).toBe(DEV["agents/reviewer.md"])
})

test("an editor that fails changes nothing", async () => {
  using home = new ManifestHome(DEV)
  await using screen = onScreen(home, ["edit", "reviewer"], { EDITOR: "false" })
  await screen.sees("The editor `false` ended with status 1; nothing was changed")
  await endsWith(screen, 1)
  expect(readFileSync(home.path("agents/reviewer.md"), "utf8")).toBe(DEV["agents/reviewer.md"])
})

test("what is typed after an answer belongs to the program that gets the terminal next", async () => {
  using home = new ManifestHome(DEV)
  await using screen = onTerminal(
    ["sh", "-c", '"$@"; read line; echo "next=$line"', "sh", ...BOTTLE, "edit", "reviewer"],
    { cwd: home.repo, env: envOf(home, { EDITOR: editor(home, [manifest("bottel: dev")]) }) },
  )
  await screen.sees("(d)iscard the changes?")
  screen.type("d\rhello\n")
  await screen.sees("next=hello")
})

test("info says what an agent's output may do to the terminal, and nothing where it may do nothing", async () => {
  using home = new ManifestHome({
    "agents/plain.md": manifest("bottle: plain"),
    "agents/open.md": manifest("bottle: open"),
    "bottles/plain.md": manifest("env: {}"),
    "bottles/open.md": manifest("terminal: { allow: [clipboard, notify] }"),
  })
  expect((await bottle(home, ["info", "open"])).stdout).toContain(
    "terminal   the agent's output may write the clipboard, send notifications",
  )
  expect((await bottle(home, ["info", "plain"])).stdout).not.toContain("terminal")
  const data = JSON.parse((await bottle(home, ["info", "open", "--format", "json"])).stdout)
  expect(data.bottle.terminal).toEqual({ allow: ["clipboard", "notify"] })
})
