/** `bottle init`: makes an agent, and the bottle it runs in when there is none of that name yet. */
import { mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { defineCommand } from "citty"
import { availableSkills, findSkills } from "../bottle/skills.ts"
import { loadManifests, type Manifests } from "../manifest/load.ts"
import { earlierSystem } from "../manifest/origins.ts"
import { nameVerdict } from "../manifest/other-fields.ts"
import { saidParts, type Verdict } from "../manifest/saying.ts"
import { askText, canAsk, confirm } from "../runtime/ask.ts"
import { fileError, writeDurably } from "../runtime/durable-file.ts"
import { BottleError, usageError } from "../runtime/error.ts"
import { hostEnv } from "../runtime/home.ts"
import { paint, tell } from "../runtime/output.ts"
import { checkTogether, DEFAULT_TOKEN, type Field, presetName, type RunsFlags, runsIn } from "./init-runs.ts"
import { agentText, bottleText, type Runs } from "./init-text.ts"
import { callerPlaces, openManifests, shortPath } from "./manifests.ts"

interface Answers {
  name: string
  bottle: string
  /** What runs in the bottle; absent when the bottle is there already */
  runs?: Runs
  skills: string[]
  prompt: string
}

export default defineCommand({
  meta: { name: "bottle init", description: "Make a first agent and the bottle it runs in" },
  args: {
    name: { type: "string", description: "Name of the agent (default: of what runs)" },
    bottle: { type: "string", description: "Name of its bottle (default: of what runs)" },
    template: { type: "string", description: "What runs: claude or command (default claude)" },
    command: { type: "string", description: 'Command to run, as in "bash -l"' },
    "token-env": {
      type: "string",
      description: `Claude's token (default ${DEFAULT_TOKEN})`,
    },
    skills: { type: "string", description: "Skills from ~/.claude/skills, separated by commas" },
    prompt: { type: "string", description: "System prompt of the agent" },
    replace: { type: "boolean", default: false, description: "Replace an agent of the same name" },
    yes: { type: "boolean", default: false, alias: "y", description: "Ask nothing; take the defaults" },
  },
  async run({ args }) {
    const manifests = openManifests()
    const places = callerPlaces()
    const earlier = earlierSystem(places)
    if (earlier !== undefined) tell(`${paint("stderr").warn("note")} ${earlier.what}\n  ${earlier.next}\n`)
    if (!args.yes && !canAsk()) {
      throw usageError(
        "`bottle init` needs a terminal for its questions",
        "Without one: bottle init --name NAME --yes",
      )
    }
    const answers = await answersFrom(args, !args.yes, manifests, places.userHome)
    findSkills(answers.skills, places.userHome)
    await checkReplace(manifests, answers.name, args.replace, !args.yes)
    await write(manifests, answers)
  },
})

interface Flags extends RunsFlags {
  name?: string | undefined
  bottle?: string | undefined
  skills?: string | undefined
  prompt?: string | undefined
}

/** Flags answer their question; the others are asked, or take their defaults. */
async function answersFrom(
  flags: Flags,
  asking: boolean,
  manifests: Manifests,
  userHome: string,
): Promise<Answers> {
  checkTogether(flags)
  const field: Field = (flag, question, preset, verdict) =>
    flag !== undefined || !asking ? valid(flag ?? preset, verdict) : ask(question, preset, verdict)
  const preset = presetName(flags)
  const name = await field(flags.name, "Name of the agent", preset, nameVerdict)
  const bottle = await field(flags.bottle, "Bottle it runs in", preset, nameVerdict)
  const known = manifests.bottleNames().includes(bottle)
  const useless = (["template", "command", "token-env"] as const).find((flag) => flags[flag] !== undefined)
  if (known && useless !== undefined) {
    throw usageError(
      `The bottle "${bottle}" is there already, so --${useless} would have no effect`,
      `Change it with: bottle edit --bottle ${bottle}`,
    )
  }
  const runs = known ? undefined : await runsIn(flags, field)
  const skills = namesIn(await field(flags.skills, skillQuestion(userHome), "", skillsVerdict))
  const prompt = await field(
    flags.prompt,
    "System prompt in a line (edit the file for more)",
    "",
    () => undefined,
  )
  return { name, bottle, ...(runs === undefined ? {} : { runs }), skills, prompt }
}

function valid(value: string, verdict: (text: string) => Verdict): string {
  const fault = verdict(value)
  if (fault === undefined) return value
  const { text, fix } = saidParts(fault)
  throw usageError(text, fix)
}

async function ask(question: string, preset: string, verdict: (text: string) => Verdict): Promise<string> {
  for (;;) {
    const answer = await askText(question, preset)
    const fault = verdict(answer)
    if (fault === undefined) return answer
    tell(saidParts(fault).text)
  }
}

function skillQuestion(userHome: string): string {
  const skills = availableSkills(userHome)
  return skills.length === 0
    ? "Skills, separated by commas"
    : `Skills, separated by commas (${skills.join(", ")})`
}

function skillsVerdict(text: string): Verdict {
  return namesIn(text)
    .map(nameVerdict)
    .find((fault) => fault !== undefined)
}

function namesIn(text: string): string[] {
  return text
    .split(/[\s,]+/)
    .filter((name) => name !== "")
    .filter((name, index, all) => all.indexOf(name) === index)
}

/** An agent that is there is replaced only when somebody says so. */
async function checkReplace(
  manifests: Manifests,
  name: string,
  replace: boolean,
  asking: boolean,
): Promise<void> {
  const place = manifests.fileOf("agent", name)
  if (place === undefined) return
  if (place.origin === "repo") {
    throw new BottleError({
      what: `This repository ships an agent named "${name}"`,
      why: `${place.file} and one of yours with the same name could not be told apart`,
      next: "Choose another name with --name",
    })
  }
  if (replace) return
  if (asking && (await confirm(`${shortPath(place.file)} is there already. Replace it?`))) return
  throw new BottleError({
    what: `The agent "${name}" is there already; nothing was changed`,
    why: place.file,
    next: `Choose another name with --name, or add --replace`,
  })
}

async function write(manifests: Manifests, answers: Answers): Promise<void> {
  const colour = paint("stderr")
  const bottle = join(manifests.home, "bottles", `${answers.bottle}.md`)
  const agent = join(manifests.home, "agents", `${answers.name}.md`)
  for (const folder of [manifests.home, dirname(bottle), dirname(agent)]) makeFolder(folder)
  const { runs } = answers
  if (runs === undefined) tell(`  ${colour.dim("kept ")} ${shortPath(bottle)}`)
  else {
    await writeDurably(bottle, bottleText(runs), 0o600)
    tell(`  ${colour.good("wrote")} ${shortPath(bottle)}`)
  }
  await writeDurably(agent, agentText(answers), 0o600)
  tell(`  ${colour.good("wrote")} ${shortPath(agent)}`)
  // Read back as `start` will: what was kept may not fit.
  loadManifests(callerPlaces()).agent(answers.name)
  tellNext(answers)
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw fileError(`Could not make ${path}`, error)
  }
}

function tellNext({ name, runs }: Answers): void {
  const colour = paint("stderr")
  tell(`\n${colour.strong("Next")}`)
  if (runs?.template === "claude" && !hostEnv()[runs.tokenEnv]) {
    const hint = runs.tokenEnv === DEFAULT_TOKEN ? colour.dim("   # from: claude setup-token") : ""
    tell(`  export ${runs.tokenEnv}=...${hint}`)
  }
  tell(`  bottle start ${name}`)
}
