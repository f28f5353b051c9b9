/** `bottle info`: what an agent may do, before it does anything. Names and places, never values. */
import { defineCommand } from "citty"
import { missingSkills } from "../bottle/skills.ts"
import { tokenPlace } from "../bottle/token.ts"
import { unserved } from "../manifest/served.ts"
import type { Agent, Bottle, BottleRoute, EnvValue } from "../manifest/types.ts"
import { wordList } from "../manifest/words.ts"
import { showable } from "../policy/denial.ts"
import { permissionText } from "../policy/terminal/permission.ts"
import { hostEnv, userHome } from "../runtime/home.ts"
import { columns, type Paint, pad, paint, print, tell } from "../runtime/output.ts"
import { FORMAT_ARG, formatOf } from "./context.ts"
import { errorText } from "./error-text.ts"
import { openManifests, shortPath } from "./manifests.ts"
import { pickAgent } from "./pick.ts"
import { aligned, cut } from "./table.ts"

/** Lines of the prompt that are shown */
const PROMPT_LINES = 6
/** Columns of the labels */
const LABEL = 11

export default defineCommand({
  meta: { name: "bottle info", description: "Show what an agent may do" },
  args: {
    agent: { type: "positional", required: false, description: "Name of the agent; asked for when absent" },
    format: FORMAT_ARG,
  },
  async run({ args }) {
    const format = formatOf(args.format)
    const manifests = openManifests()
    const agent = manifests.agent(args.agent ?? (await pickAgent(manifests.agents())))
    const bottle = manifests.bottle(agent.bottle)
    if (format === "json") print(JSON.stringify(infoData(agent, bottle), null, 2))
    else print(infoText(agent, bottle))
    const error = unserved(bottle)
    if (error !== undefined && format !== "json") tell(`\n${errorText(error)}`)
  },
})

function infoData(agent: Agent, bottle: Bottle) {
  const error = unserved(bottle)
  return {
    agent: {
      name: agent.name,
      file: agent.file,
      origin: agent.origin,
      hash: agent.hash,
      description: showable(agent.description),
      skills: agent.skills,
      missing_skills: missingSkills(agent.skills, userHome(hostEnv())),
      git_user: { ...bottle.git.user, ...agent.gitUser },
      prompt_lines: agent.prompt === "" ? 0 : agent.prompt.split("\n").length,
    },
    bottle: {
      name: bottle.name,
      file: bottle.file,
      lineage: bottle.lineage,
      provider: bottle.provider.template,
      command: bottle.provider.command,
      backend: bottle.backend ?? null,
      gateway: bottle.gateway,
      supervise: bottle.supervise,
      repo_agents: bottle.repoAgents,
      limits: bottle.limits,
      terminal: bottle.terminal,
      env: Object.entries(bottle.env).map(([name, value]) => ({ name, ...envOrigin(value) })),
      routes: bottle.routes.map((route) => ({
        host: route.host,
        paths: route.paths ?? null,
        methods: route.methods ?? null,
        credential: route.auth ? { scheme: route.auth.scheme, from: tokenPlace(route.auth.token) } : null,
        intercept: route.intercept,
        scheme: route.scheme,
        private: route.private,
        scan: route.scan?.on_match ?? null,
        at: route.at,
      })),
      repos: bottle.git.repos.map(({ name, url, refs }) => ({ name, url, refs })),
    },
    not_served: error === undefined ? null : { what: error.what, why: error.why, next: error.next },
  }
}

function envOrigin(value: EnvValue): { kind: EnvValue["kind"]; from?: string } {
  return value.kind === "host" ? { kind: value.kind, from: value.variable } : { kind: value.kind }
}

function infoText(agent: Agent, bottle: Bottle): string {
  const colour = paint("stdout")
  const room = columns("stdout") - LABEL
  const inherited = bottle.lineage.slice(0, -1)
  const sections: [string, string[]][] = [
    ["agent", agentLines(agent, colour)],
    [
      "bottle",
      [
        `${colour.strong(bottle.name)}  ${colour.dim(shortPath(bottle.file))}`,
        ...(inherited.length > 0 ? [`extends ${inherited.join(", ")}`] : []),
      ],
    ],
    ["provider", providerLines(bottle, room, colour)],
    ["backend", [bottle.backend ?? colour.dim("the first one available")]],
    ["limits", limitLines(bottle)],
    ["terminal", terminalLines(bottle)],
    ["git user", userLines(agent, bottle)],
    ["skills", skillLines(agent, colour)],
    ["env", envLines(bottle, room, colour)],
    ["reaches", routeLines(bottle, room, colour)],
    ["repos", bottle.git.repos.map((repo) => `${colour.name(repo.name)}  ${colour.dim(showable(repo.url))}`)],
    ["prompt", promptLines(agent, room, colour)],
  ]
  return sections.flatMap(([label, lines]) => section(colour.dim(label), lines)).join("\n")
}

function section(label: string, lines: string[]): string[] {
  return lines.map((line, index) => `${pad(index === 0 ? label : "", LABEL)}${line}`.trimEnd())
}

function agentLines(agent: Agent, colour: Paint): string[] {
  const lines = [`${colour.strong(agent.name)}  ${colour.dim(showable(shortPath(agent.file)))}`]
  if (agent.description !== "") lines.push(showable(agent.description.split("\n")[0]!))
  if (agent.origin === "repo")
    lines.push(colour.warn(`shipped by this repository, sha256 ${agent.hash.slice(0, 16)}`))
  return lines
}

function providerLines({ provider }: Bottle, room: number, colour: Paint): string[] {
  if (provider.template !== "command") return [provider.template]
  return aligned([[provider.template, showable(wordList(provider.command), 500)]], room, colour.dim)
}

function limitLines({ limits }: Bottle): string[] {
  const parts = [
    limits.memory === undefined ? [] : [`${limits.memory} memory`],
    limits.pids === undefined ? [] : [`${limits.pids} processes`],
    limits.cpus === undefined ? [] : [`${limits.cpus} cores`],
  ].flat()
  return parts.length === 0 ? [] : [parts.join(", ")]
}

function terminalLines({ terminal }: Bottle): string[] {
  return terminal.allow.length === 0 ? [] : [`the agent's output may ${permissionText(terminal.allow)}`]
}

function userLines(agent: Agent, bottle: Bottle): string[] {
  const { name, email } = { ...bottle.git.user, ...agent.gitUser }
  const text = [name, email === undefined ? undefined : `<${email}>`]
    .filter((part) => part !== undefined)
    .join(" ")
  return text === "" ? [] : [showable(text)]
}

function skillLines(agent: Agent, colour: Paint): string[] {
  const missing = missingSkills(agent.skills, userHome(hostEnv()))
  return agent.skills.map((skill) =>
    missing.includes(skill) ? `${skill}  ${colour.bad("not found")}` : skill,
  )
}

const ENV_ORIGINS: Record<EnvValue["kind"], (value: EnvValue) => string> = {
  literal: () => "written in the bottle",
  host: (value) => `from $${(value as { variable: string }).variable}`,
  asked: () => "asked at start",
}

function envLines(bottle: Bottle, room: number, colour: Paint): string[] {
  const rows = Object.entries(bottle.env).map(([name, value]) => [name, ENV_ORIGINS[value.kind](value)])
  return aligned(rows, room, colour.dim)
}

function routeLines(bottle: Bottle, room: number, colour: Paint): string[] {
  // A command brings no host of its own.
  const none = bottle.provider.template === "command"
  const own = none ? [] : [colour.dim(`and what the provider ${bottle.provider.template} needs`)]
  if (bottle.routes.length === 0) return none ? [colour.dim("nothing")] : own
  const rows = bottle.routes.map((route) => [
    colour.name(route.host),
    route.auth === undefined ? "" : colour.good(`${route.auth.scheme} ${tokenPlace(route.auth.token)}`),
    limitsOfRoute(route),
  ])
  return [...aligned(rows, room, colour.dim), ...own]
}

function limitsOfRoute(route: BottleRoute): string {
  return [
    route.scheme === "http" ? "in the clear" : "",
    route.intercept ? "" : "bytes unseen",
    route.methods?.join(",") ?? "",
    route.paths?.map((path) => showable(path)).join(" ") ?? "",
    route.private.length > 0 ? `may be ${route.private.join(", ")}` : "",
  ]
    .filter((part) => part !== "")
    .join("; ")
}

function promptLines(agent: Agent, room: number, colour: Paint): string[] {
  if (agent.prompt === "") return [colour.dim("none")]
  const lines = agent.prompt.split("\n")
  const shown = lines.slice(0, PROMPT_LINES).map((line) => cut(showable(line, 500), room))
  const left = lines.length - shown.length
  return left > 0 ? [...shown, colour.dim(`and ${left} more ${left === 1 ? "line" : "lines"}`)] : shown
}
