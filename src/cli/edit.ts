/** `bottle edit`: opens an agent or a bottle in the person's editor; a broken text never replaces a working one unasked. */
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { defineCommand } from "citty"
import { loadManifests, type Manifests } from "../manifest/load.ts"
import { FILE_MAX, type ManifestText, readManifest } from "../manifest/read.ts"
import { didYouMean, listed } from "../manifest/suggest.ts"
import { showable } from "../policy/denial.ts"
import { askText, canAsk } from "../runtime/ask.ts"
import { writeDurably } from "../runtime/durable-file.ts"
import { BottleError, usageError } from "../runtime/error.ts"
import { hostEnv } from "../runtime/home.ts"
import { paint, tell } from "../runtime/output.ts"
import { spawnInherit } from "../runtime/spawn.ts"
import { editorArgv } from "./editor.ts"
import { errorText } from "./error-text.ts"
import { callerPlaces, openManifests, shortPath } from "./manifests.ts"

interface Target {
  kind: "agent" | "bottle"
  name: string
  /** Absolute path of the file as manifests name it */
  file: string
  origin: "home" | "repo"
}

export default defineCommand({
  meta: { name: "bottle edit", description: "Edit an agent or a bottle" },
  args: {
    name: { type: "positional", required: true, description: "Name of the agent or the bottle" },
    agent: { type: "boolean", default: false, description: "Take the name for an agent's" },
    bottle: { type: "boolean", default: false, description: "Take the name for a bottle's" },
  },
  async run({ args }) {
    if (args.agent && args.bottle)
      throw usageError("--agent and --bottle exclude each other", "Give one of them")
    const manifests = openManifests()
    const target = targetOf(manifests, args.name, args.agent ? "agent" : args.bottle ? "bottle" : undefined)
    if (!canAsk()) {
      throw usageError("`bottle edit` needs a terminal", `Change the file itself: ${target.file}`)
    }
    await edit(target, editorArgv(hostEnv()))
  },
})

function targetOf(manifests: Manifests, name: string, kind: Target["kind"] | undefined): Target {
  for (const wanted of kind === undefined ? (["agent", "bottle"] as const) : [kind]) {
    const place = manifests.fileOf(wanted, name)
    if (place !== undefined) return { kind: wanted, name, ...place }
  }
  const names = [
    ...(kind === "bottle" ? [] : manifests.agentNames()),
    ...(kind === "agent" ? [] : manifests.bottleNames()),
  ]
  throw new BottleError({
    what: `There is no ${kind ?? "agent or bottle"} named "${showable(name)}"${showable(didYouMean(name, names))}`,
    why: `there are: ${listed(new Set(names))}`,
    next: "Make a new one with: bottle init",
  })
}

/** Edits a copy until it is sound, saved as it is, or given up. */
async function edit(target: Target, editor: string[]): Promise<void> {
  const before = readManifest(target.file, target.origin)
  const folder = mkdtempSync(join(tmpdir(), "bottle-edit-"))
  const draft = join(folder, basename(target.file))
  writeFileSync(draft, before.text, { mode: 0o600 })
  try {
    await editDraft(target, [...editor, draft], draft, before)
  } catch (error) {
    // What somebody wrote is never thrown away for a fault of ours or a slip of theirs.
    const kept = existsSync(draft) && readDraft(draft) !== before.text
    if (kept) tell(`Your text is kept in ${draft}`)
    else rmSync(folder, { recursive: true, force: true })
    throw error
  }
  rmSync(folder, { recursive: true, force: true })
}

async function editDraft(target: Target, argv: string[], draft: string, before: ManifestText): Promise<void> {
  const colour = paint("stderr")
  for (;;) {
    await openEditor(argv)
    const text = readDraft(draft)
    if (text === before.text) return tell(`Nothing was changed in ${shortPath(target.file)}.`)
    const fault = faultIn(target, text)
    if (fault !== undefined) {
      tell(`\n${errorText(fault)}\n`)
      const next = await afterFault()
      if (next === "again") continue
      if (next === "discard") return tell(`${shortPath(target.file)} is as it was.`)
    }
    await save(target, before.hash, text)
    const done = fault === undefined ? colour.good("saved") : colour.warn("saved with faults")
    tell(`${done} ${shortPath(target.file)}`)
    return tellBroken(target)
  }
}

async function openEditor(argv: string[]): Promise<void> {
  const code = await spawnInherit(argv)
  if (code === 0) return
  throw new BottleError({
    what: `The editor \`${argv[0]}\` ended with status ${code}; nothing was changed`,
    next: "Set EDITOR to one that works here, as in: export EDITOR=nano",
  })
}

function readDraft(path: string): string {
  const about = statSync(path, { throwIfNoEntry: false })
  if (about === undefined) {
    throw new BottleError({
      what: "The editor left no file; nothing was changed",
      next: "Save under the name it opened",
    })
  }
  // A larger one would be refused when it is read again; its text is not needed to say so.
  return about.size > FILE_MAX * 2 ? " ".repeat(FILE_MAX + 1) : readFileSync(path, "utf8")
}

/** What is wrong with the text; undefined when it can take the file's place. */
function faultIn(target: Target, text: string): BottleError | undefined {
  if (Buffer.byteLength(text) > FILE_MAX) {
    return new BottleError({
      what: "The text is too large for a manifest",
      why: `it has at most ${FILE_MAX} bytes (${FILE_MAX / 1024} KiB)`,
      next: "Make it shorter",
    })
  }
  try {
    const manifests = loadManifests({ ...callerPlaces(), draft: { file: target.file, text } })
    if (target.kind === "agent") manifests.agent(target.name)
    else manifests.bottle(target.name)
    return undefined
  } catch (error) {
    if (error instanceof BottleError) return error
    throw error
  }
}

async function afterFault(): Promise<"again" | "save" | "discard"> {
  for (;;) {
    const answer = (
      await askText("(e)dit again, (s)ave it as it is, (d)iscard the changes?", "e")
    ).toLowerCase()
    if ("edit again".startsWith(answer)) return "again"
    if ("save".startsWith(answer)) return "save"
    if ("discard".startsWith(answer)) return "discard"
  }
}

async function save(target: Target, hashBefore: string, text: string): Promise<void> {
  if (readManifest(target.file, target.origin).hash !== hashBefore) {
    throw new BottleError({
      what: `${target.file} was changed while you edited it`,
      why: "saving now would undo the other change",
      next: "Bring the two together by hand",
    })
  }
  // Behind a link the file itself is replaced, not the link: dotfiles are often kept elsewhere.
  const file = realpathSync(target.file)
  const mode = statSync(file).mode & 0o777
  await writeDurably(file, text, mode)
}

/** Says which other agents the change has broken. */
function tellBroken(target: Target): void {
  if (target.kind !== "bottle") return
  for (const { name, broken } of loadManifests(callerPlaces()).agents()) {
    if (broken !== undefined)
      tell(`${paint("stderr").warn("warning")} the agent ${name} cannot be used: bottle info ${name}`)
  }
}
