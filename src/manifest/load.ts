/** The manifests as the rest of the program sees them: read when asked for, checked whole, every fault explained. */
import { showable } from "../policy/denial.ts"
import { BottleError } from "../runtime/error.ts"
import { hostEnv, userHome } from "../runtime/home.ts"
import { type ReadAgent, readAgent } from "./agent.ts"
import { type Fault, faultsError, ManifestFaults } from "./fault.ts"
import { fold } from "./fold.ts"
import { type Layer, readLayer } from "./layer.ts"
import { earlierSystem, findManifests, type Origins, type Places } from "./origins.ts"
import { manifestOf, type Origin, readManifest } from "./read.ts"
import { didYouMean, listed } from "./suggest.ts"
import type { Agent, AgentSummary, Bottle } from "./types.ts"

/** Bottles that one may be folded from, itself included */
const LINEAGE_MAX = 32

export interface LoadOptions {
  /** $BOTTLE_HOME, absolute */
  home: string
  /** Folder the user called us from, absolute */
  cwd: string
  /** The user's home folder, absolute; the process's own when absent */
  userHome?: string
  /** A text to take instead of a file's content, for one that is being edited */
  draft?: { file: string; text: string }
}

export interface Manifests {
  home: string
  /** What was found and ignored, one sentence each */
  warnings: readonly string[]
  bottleNames(): string[]
  agentNames(): string[]
  /** Every agent, the broken ones with their error */
  agents(): AgentSummary[]
  /** An agent whose bottle may run it. Throws a BottleError. */
  agent(name: string): Agent
  /** A bottle with what it extends folded in. Throws a BottleError. */
  bottle(name: string): Bottle
  /** Where the file of a bottle or an agent is, readable or not; the user's own where there are two */
  fileOf(kind: "bottle" | "agent", name: string): { file: string; origin: Origin } | undefined
}

/** Finds the manifests of the user and of the current folder. Files are read when they are asked for. */
export function loadManifests(options: LoadOptions): Manifests {
  const places = { ...options, userHome: options.userHome ?? userHome(hostEnv()) }
  const warnings: string[] = []
  const loader = new Loader(places, findManifests(places, warnings), options.draft)
  return {
    home: options.home,
    warnings,
    bottleNames: () => [...loader.origins.bottles.keys()],
    agentNames: () => [...loader.origins.agents.keys()].sort(),
    agents: () => loader.agents(),
    agent: (name) => loader.agent(name),
    bottle: (name) => loader.bottle(name),
    fileOf: (kind, name) => {
      if (kind === "agent") return loader.origins.agents.get(name)?.[0]
      const file = loader.origins.bottles.get(name)
      return file === undefined ? undefined : { file, origin: "home" }
    },
  }
}

class Loader {
  readonly origins: Origins
  readonly #places: Places
  readonly #draft: LoadOptions["draft"]
  readonly #layers = new Map<string, Layer>()
  readonly #bottles = new Map<string, Bottle>()

  constructor(places: Places, origins: Origins, draft: LoadOptions["draft"]) {
    this.#places = places
    this.origins = origins
    this.#draft = draft
  }

  agents(): AgentSummary[] {
    this.#requireManifests()
    return [...this.origins.agents].sort().map(([name, files]) => {
      const { file, origin } = files.at(-1)!
      try {
        return { name, file, origin, agent: this.agent(name) }
      } catch (error) {
        if (!(error instanceof BottleError)) throw error
        return { name, file, origin, broken: error }
      }
    })
  }

  agent(name: string): Agent {
    this.#requireManifests()
    const [place, second] = this.origins.agents.get(name) ?? []
    if (place === undefined) throw this.#unknownAgent(name)
    if (second !== undefined) {
      throw new BottleError({
        what: `There are two agents named "${name}"`,
        why: `yours (${place.file}) and one that this repository ships (${second.file})`,
        next: "Rename one of them; neither hides the other",
      })
    }
    const { agent, lineOf } = this.#readAgent(name, place.file, place.origin)
    if (!this.origins.bottles.has(agent.bottle)) {
      throw this.#faults("agent", name, place.file, [
        this.#unknownBottle(agent.bottle, ["bottle"], lineOf(["bottle"])),
      ])
    }
    const bottle = this.bottle(agent.bottle)
    if (agent.origin === "repo" && !bottle.repoAgents) {
      throw new BottleError({
        what: `The agent "${name}" comes with this repository, and the bottle "${bottle.name}" takes only your own`,
        why: `${place.file} was written by whoever wrote the repository, and would run with the bottle's credentials`,
        next: `To allow it, add \`repo_agents: true\` to ${bottle.file}`,
      })
    }
    return agent
  }

  bottle(name: string): Bottle {
    this.#requireManifests()
    const known = this.#bottles.get(name)
    if (known !== undefined) return known
    const layers = this.#lineage(name, [], [])
    const bottle = fold(layers as [Layer, ...Layer[]], this.#places.userHome)
    const faults = providerFaults(bottle, layers.at(-1)!)
    if (faults.length > 0) throw this.#faults("bottle", name, bottle.file, faults)
    this.#bottles.set(name, bottle)
    return bottle
  }

  #requireManifests(): void {
    const earlier = earlierSystem(this.#places)
    if (earlier !== undefined) throw earlier
  }

  /** The layers of a bottle, what it extends before itself, each once and where it is met first. */
  #lineage(name: string, chain: string[], done: Layer[]): Layer[] {
    if (done.some((layer) => layer.name === name)) return done
    const layer = this.#layer(name)
    for (const [index, parent] of (layer.says.extends ?? []).entries()) {
      const path = ["extends", index]
      const line = layer.lineOf(path)
      const fault = (text: string, fix: string) =>
        this.#faults("bottle", name, layer.file, [{ path, line, text, fix }])
      const start = [...chain, name].indexOf(parent)
      if (start >= 0) {
        const circle = [...[...chain, name].slice(start), parent].join(" -> ")
        throw fault(
          `the bottles extend each other in a circle: ${circle}`,
          "Remove one of these from its extends",
        )
      }
      if (!this.origins.bottles.has(parent)) {
        throw this.#faults("bottle", name, layer.file, [this.#unknownBottle(parent, path, line)])
      }
      if (chain.length + 1 >= LINEAGE_MAX)
        throw fault(`more than ${LINEAGE_MAX} bottles in a row`, "Make it fewer")
      this.#lineage(parent, [...chain, name], done)
    }
    done.push(layer)
    return done
  }

  #layer(name: string): Layer {
    const known = this.#layers.get(name)
    if (known !== undefined) return known
    const file = this.origins.bottles.get(name)
    if (file === undefined) {
      const names = [...this.origins.bottles.keys()]
      throw new BottleError({
        what: `There is no bottle named "${showable(name)}"${showable(didYouMean(name, names))}`,
        why: `bottles in ${this.#places.home}/bottles: ${listed(names)}`,
        next: names.length === 0 ? "Run: bottle init" : "Name one of these",
      })
    }
    const layer = this.#explained("bottle", name, file, () =>
      readLayer(name, file, this.#text(file, "home").text, this.#places.userHome),
    )
    this.#layers.set(name, layer)
    return layer
  }

  #readAgent(name: string, file: string, origin: Origin): ReadAgent {
    return this.#explained("agent", name, file, () => readAgent(name, file, origin, this.#text(file, origin)))
  }

  #text(file: string, origin: Origin) {
    return this.#draft?.file === file ? manifestOf(this.#draft.text) : readManifest(file, origin)
  }

  #explained<T>(kind: "agent" | "bottle", name: string, file: string, read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof ManifestFaults)) throw error
      throw this.#faults(kind, name, file, error.faults)
    }
  }

  #faults(kind: "agent" | "bottle", name: string, file: string, faults: readonly Fault[]): BottleError {
    // An agent of the same name comes first for `edit`.
    const flag = kind === "bottle" && this.origins.agents.has(name) ? " --bottle" : ""
    const what = `The ${kind} "${name}" cannot be used: ${file}`
    return faultsError(what, faults, `Correct it, as with: bottle edit${flag} ${name}`)
  }

  #unknownBottle(name: string, path: Fault["path"], line: number): Fault {
    const names = [...this.origins.bottles.keys()]
    const text = `there is no bottle named "${name}"${didYouMean(name, names)}`
    return { path, line, text, fix: `Bottles in ${this.#places.home}/bottles: ${listed(names)}` }
  }

  #unknownAgent(name: string): BottleError {
    const names = [...this.origins.agents.keys()]
    return new BottleError({
      what: `There is no agent named "${showable(name)}"${showable(didYouMean(name, names))}`,
      why: names.length === 0 ? `${this.#places.home}/agents holds none yet` : `agents: ${listed(names)}`,
      next: names.length === 0 ? "Run: bottle init" : "See them with: bottle list available",
    })
  }
}

/** What only the folded provider can get wrong. */
function providerFaults(bottle: Bottle, own: Layer): Fault[] {
  const { template, command, forwardHostCredentials } = bottle.provider
  const fault = (key: string, text: string, fix: string): Fault => {
    const path = ["agent_provider", key]
    return { path, line: own.lineOf(path), text, fix }
  }
  const faults: Fault[] = []
  if (template === "command" && command.length === 0) {
    faults.push(
      fault("command", "the template `command` needs one", "Write it as: command: [program, argument]"),
    )
  }
  if (template !== "command" && command.length > 0) {
    faults.push(
      fault(
        "command",
        `the template \`${template}\` has a command of its own`,
        "Remove command, or use template: command",
      ),
    )
  }
  if (forwardHostCredentials && template !== "codex") {
    const text = `only codex forwards the host's credentials, not ${template}`
    faults.push(fault("forward_host_credentials", text, "Give the provider's route a token instead"))
  }
  return faults
}
