/** What a start will do, shown before it does it: names and places, never values. */
import { showable } from "../policy/denial.ts"
import type { Route } from "../policy/schema.ts"
import { permissionText } from "../policy/terminal/permission.ts"
import { columns, pad, paint, tell, widthOf } from "../runtime/output.ts"
import type { Prepared } from "./prepare.ts"

/** Longest path that is shown, in characters; the folders of a repository are named by whoever made it. */
const PATH_MAX = 4096
/** Places of the host that are named; a tool with many libraries brings each of them */
const BROUGHT_SHOWN = 6

/** The plan as data, for `--format json`. */
export function preflightData(prepared: Prepared) {
  const { agent, bottle, choice, compiled, provision, probe, spec } = prepared
  return {
    identity: prepared.identity,
    backend: {
      name: prepared.backend.name,
      chosen_by: [choice.chosenBy, ...choice.passedOver].join("; "),
      found: probe.found,
      notes: [...choice.notes, ...probe.notes],
    },
    agent: { name: agent.name, origin: agent.origin, hash: agent.hash, file: agent.file },
    bottle: { name: bottle.name, lineage: bottle.lineage },
    provider: provision.tool,
    env_names: exposedNames(prepared),
    skills: agent.skills,
    workspace:
      spec.cwd === undefined
        ? { mode: "empty" }
        : {
            mode: "copy",
            source: spec.cwd,
            ...(prepared.copySize === "" ? {} : { large: prepared.copySize }),
          },
    repos: bottle.git.repos.map(({ name, url }) => ({ name, url })),
    routes: compiled.policy.routes.map((route) => ({
      host: route.host,
      paths: route.paths ?? null,
      methods: route.methods ?? null,
      credential: route.auth ? { scheme: route.auth.scheme, from: route.auth.credential } : null,
      intercept: route.intercept,
      scheme: route.scheme,
      private: route.private,
      origin: route.origin,
    })),
    upstream_proxy: prepared.hostProxy
      ? `${prepared.hostProxy.proxy.host}:${prepared.hostProxy.proxy.port} (${prepared.hostProxy.variable})`
      : null,
    extra_hosts: prepared.extraHosts,
    brings: prepared.brought,
    images: prepared.imageOverrides,
    terminal: bottle.terminal,
    session: prepared.session,
  }
}

/** The plan for a person, on stderr. */
export function showPreflight(prepared: Prepared): void {
  const colour = paint("stderr")
  const { agent, bottle, compiled, provision, spec } = prepared
  const rows: [string, string[]][] = [
    ["backend", backendLines(prepared, colour)],
    ["agent", [`${colour.strong(agent.name)} ${colour.dim(provision.tool)}`, ...repoLines(prepared, colour)]],
    [
      "bottle",
      [
        bottle.lineage.length > 1
          ? `${bottle.name} ${colour.dim(`from ${bottle.lineage.slice(0, -1).join(", ")}`)}`
          : bottle.name,
      ],
    ],
    [
      "workspace",
      [
        spec.cwd === undefined
          ? spec.resume
            ? "as it was left"
            : "empty"
          : `a copy of ${showable(spec.cwd, PATH_MAX)}${prepared.copySize === "" ? "" : colour.warn(`, ${prepared.copySize}`)}`,
      ],
    ],
    ["env", exposedNames(prepared).map((name) => `${name} ${colour.dim("exposed to the agent")}`)],
    ["skills", agent.skills.length === 0 ? [] : [agent.skills.join(", ")]],
    ["brings", broughtLines(prepared)],
    [
      "images",
      Object.entries(prepared.imageOverrides).map(([role, image]) => `${role}: ${colour.warn(image)}`),
    ],
    ["reaches", compiled.policy.routes.map((route) => routeLine(route, colour))],
    ["by proxy", proxyLines(prepared, colour)],
    ["names", Object.entries(prepared.extraHosts).map(([host, address]) => `${host} is ${address}`)],
    ["repos", bottle.git.repos.map(({ name, url }) => `${name} ${colour.dim(url)}`)],
    ["terminal", terminalLines(prepared, colour)],
    ["git user", [{ ...bottle.git.user, ...agent.gitUser }.name ?? ""].filter((text) => text !== "")],
  ]
  tell("")
  for (const [label, lines] of rows) {
    lines.forEach((line, i) => {
      tell(`  ${colour.dim(pad(i === 0 ? label : "", 10))} ${fit(line)}`)
    })
  }
  if (compiled.policy.routes.length === 0) tell(`  ${colour.dim(pad("reaches", 10))} nothing`)
  tell("")
}

/** Why this backend stands in the first line, and reasons that are too long for it in lines of their own. */
function backendLines({ backend, probe, choice }: Prepared, colour: ReturnType<typeof paint>): string[] {
  const line = (...parts: string[]) =>
    `${colour.name(backend.name)} ${colour.dim(`(${parts.filter(Boolean).join("; ")})`)}`
  const notes = [...choice.notes, ...probe.notes].map(colour.warn)
  const whole = line(choice.chosenBy, ...choice.passedOver, probe.found)
  if (widthOf(whole) <= room()) return [whole, ...notes]
  return [line(choice.chosenBy, probe.found), ...choice.passedOver.map(colour.dim), ...notes]
}

/** Names of the variables that the manifest hands to the agent. */
function exposedNames({ bottle }: Prepared): string[] {
  return Object.keys(bottle.env).sort()
}

function repoLines({ agent }: Prepared, colour: ReturnType<typeof paint>): string[] {
  if (agent.origin === "home") return []
  return [
    colour.warn(`shipped by the repository: ${showable(agent.file, PATH_MAX)}`),
    colour.warn(`sha256 ${agent.hash.slice(0, 32)}`),
  ]
}

/** Of the host, with the agent's program. */
function broughtLines({ brought }: Prepared): string[] {
  const shown = brought.slice(0, BROUGHT_SHOWN).map((path) => showable(path, PATH_MAX))
  const more = brought.length - shown.length
  return more === 0 ? shown : [...shown, `and ${more} more`]
}

/** Where the backend has the terminal itself, nothing of ours sees what is written to it. */
function terminalLines({ backend, bottle }: Prepared, colour: ReturnType<typeof paint>): string[] {
  const { allow } = bottle.terminal
  if (allow.length === 0) return []
  if (backend.streams === "backend")
    return [colour.dim(`${backend.name} filters nothing that is written to it`)]
  return [colour.warn(`the agent's output may ${permissionText(allow)}`)]
}

function routeLine(route: Route, colour: ReturnType<typeof paint>): string {
  const credential = route.auth ? ` ${colour.good(`+ ${route.auth.credential.replace(/^env:/, "")}`)}` : ""
  const methods = route.methods ? ` ${route.methods.join(",")}` : ""
  const paths = route.paths ? ` ${colour.dim(route.paths.join(" "))}` : ""
  const blind = route.intercept ? "" : colour.warn(" bytes unseen")
  const clear = route.scheme === "http" ? colour.warn(" in the clear") : ""
  const ranges = route.private.length > 0 ? colour.warn(` may be ${route.private.join(", ")}`) : ""
  return `${colour.name(route.host)}${credential}${blind}${clear}${ranges}${methods}${paths}`
}

function proxyLines({ hostProxy }: Prepared, colour: ReturnType<typeof paint>): string[] {
  if (hostProxy === undefined) return []
  const { proxy, variable } = hostProxy
  return [`${proxy.host}:${proxy.port} ${colour.dim(`(${variable}) connects; names are checked here first`)}`]
}

/** A line that would wrap is cut where it has to be; colours are dropped from a cut one. */
function fit(line: string): string {
  if (widthOf(line) <= room()) return line
  const plain = line.replace(/\u001b\[[0-9;]*m/g, "")
  return `${plain.slice(0, Math.max(0, room() - 3))}...`
}

/** Columns behind the labels */
function room(): number {
  return columns("stderr") - 14
}
