/** Which backend a bottle runs on: the one asked for, else the first available, and never quietly a weaker one. */
import { allBackends, backendNamed } from "../backend/registry.ts"
import type { Backend, BackendProbe } from "../backend/types.ts"
import type { Agent, BackendName, Bottle } from "../manifest/types.ts"
import { showable } from "../policy/denial.ts"
import { BottleError } from "../runtime/error.ts"
import type { HostEnv } from "../runtime/home.ts"
import { type LastUse, lastUse } from "./last-backends.ts"

/** How well each isolates; docs/backends.md says by what: a kernel of its own, a daemon's containers, namespaces. */
const STRENGTH: Record<BackendName, number> = { bubblewrap: 1, docker: 2, smolmachines: 3 }
/** Longest reason that is shown with the choice, in characters; the backend's own words can be many */
const REASON_MAX = 120

export interface ChoiceRequest {
  spec: {
    /** Backend named by flag, or the one of the bottle that is resumed or reloaded */
    backend?: string
    /** Identity of that bottle; absent for a new one */
    resume?: string
  }
  agent: Pick<Agent, "name" | "file">
  bottle: Pick<Bottle, "name" | "backend" | "limits">
  /** BOTTLE_HOME */
  home: string
  env: HostEnv
}

export interface Choice {
  backend: Backend
  probe: BackendProbe
  /** Why this one, for people */
  chosenBy: string
  /** Those that come first and cannot be used, each with its reason, for people */
  passedOver: string[]
  /** What a person should know of the choice; empty when there is nothing */
  notes: string[]
}

interface Tried {
  backend: Backend
  probe: BackendProbe
}

/** Throws a BottleError when the one asked for, or every one, cannot be used, or only one that isolates less than before. */
export async function chooseBackend(request: ChoiceRequest): Promise<Choice> {
  const { spec, bottle, env } = request
  if (spec.resume !== undefined && spec.backend !== undefined) {
    return {
      ...(await asked(spec.backend, request)),
      chosenBy: "the bottle's own",
      passedOver: [],
      notes: [],
    }
  }
  const names: [string | undefined, string][] = [
    [spec.backend, "--backend"],
    [env.BOTTLE_BACKEND, "BOTTLE_BACKEND"],
    [bottle.backend, `bottle ${bottle.name}`],
  ]
  const [name, chosenBy] = names.find(([value]) => value) ?? []
  const last = lastUse(request.home, request.agent.file)
  if (name === undefined || chosenBy === undefined) return firstAvailable(request, await last)
  const { backend, probe } = await asked(name, request)
  return { backend, probe, chosenBy, passedOver: [], notes: weaknesses(backend.name, request, await last) }
}

async function asked(name: string, { home, bottle }: ChoiceRequest): Promise<Tried> {
  const backend = await backendNamed(name, home)
  const probe = await backend.probe(bottle.limits)
  if (probe.available) return { backend, probe }
  throw new BottleError({
    what: `The backend ${name} cannot be used here`,
    why: probe.reason,
    next: probe.next,
  })
}

/** What a choice by name gives up, which is the user's to decide and ours to say. */
function weaknesses(chosen: BackendName, { agent, bottle }: ChoiceRequest, last: LastUse): string[] {
  const notes: string[] = []
  if (bottle.backend !== undefined && weaker(chosen, bottle.backend)) {
    notes.push(`isolates less than ${bottle.backend}, which bottle ${bottle.name} asks for`)
  } else if (last.kind === "used" && weaker(chosen, last.last.backend)) {
    notes.push(`isolates less than ${last.last.backend}, which ${agent.name} ran on last`)
  }
  return [...notes, ...unknown(last)]
}

/** Without a note of the last start there is nothing to compare with, and that is said. */
function unknown(last: LastUse): string[] {
  return last.kind === "unknown"
    ? [`whether it isolates less than last time is not known: ${last.path} cannot be read`]
    : []
}

async function firstAvailable({ agent, bottle, home }: ChoiceRequest, last: LastUse): Promise<Choice> {
  const before = last.kind === "used" ? last.last.backend : undefined
  const missing: Tried[] = []
  let lesser: Backend | undefined
  for (const backend of await allBackends(home)) {
    const probe = await backend.probe(bottle.limits)
    if (!probe.available) missing.push({ backend, probe })
    else if (before !== undefined && weaker(backend.name, before)) lesser ??= backend
    else {
      const passedOver = missing.map(whyNot)
      return { backend, probe, chosenBy: "first available", passedOver, notes: unknown(last) }
    }
  }
  if (lesser !== undefined && before !== undefined)
    throw wouldBeWeaker(lesser.name, before, agent.name, missing)
  throw new BottleError({
    what: "No backend can be used here",
    why: missing.map(whyNot).join("\n"),
    next: missing.map(mended).join("\n"),
  })
}

function wouldBeWeaker(
  lesser: BackendName,
  before: BackendName,
  agent: string,
  missing: Tried[],
): BottleError {
  const gone = missing.filter(({ backend }) => !weaker(backend.name, before))
  const reasons = gone.length === 0 ? [`${before}: not served by this version`] : gone.map(whyNot)
  return new BottleError({
    what: `${agent} would be isolated less than last time, so it was not started`,
    why: [`It ran on ${before} last, and now there is only ${lesser}`, ...reasons].join("\n"),
    next: [...gone.map(mended), `Or agree to it: --backend ${lesser}`].join("\n"),
  })
}

function weaker(name: BackendName, than: BackendName): boolean {
  return STRENGTH[name] < STRENGTH[than]
}

/** The backend's name and the first line of its reason, which may begin with that name. */
function whyNot({ backend: { name }, probe }: Tried): string {
  const [line = ""] = probe.reason.replace(`${name}: `, "").split("\n")
  return `${name}: ${showable(line, REASON_MAX)}`
}

function mended({ probe }: Tried): string {
  return probe.next
}
